# SPDX-License-Identifier: Apache-2.0
"""Where the log differs from strace, and why. What stands here must differ, or the test fails: a line that has come to
be unneeded is to go.

Only the text of arguments may differ for these reasons; results are the same, unless a `Difference` says otherwise.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Calls by name; `route` if it is only in one of them; `results` if what is returned differs, too."""

    calls: str
    why: str
    route: str | None = None
    results: bool = False


DIFFERENCES = (
    Difference(
        "readv writev preadv pwritev preadv2 pwritev2 sendmsg recvmsg",
        "what the buffers of a vector hold is kept in one piece, without where each of them began",
    ),
    Difference(
        "vmsplice process_vm_readv process_vm_writev process_madvise sendmmsg recvmmsg",
        "described as partial: the vectors of these calls are logged as an address",
    ),
    Difference(
        "execve execveat", "the log keeps no environment: it is full of secrets", results=True
    ),
    Difference(
        "getdents getdents64 getpmsg putpmsg afs_syscall tuxcall security epoll_ctl_old "
        "epoll_wait_old vserver uselib _sysctl set_thread_area get_thread_area prctl arch_prctl bpf "
        "perf_event_open io_setup io_submit io_getevents io_pgetevents io_cancel io_uring_setup "
        "io_uring_register shmctl msgsnd msgrcv msgctl mincore mbind set_mempolicy migrate_pages "
        "seccomp mount fsconfig name_to_handle_at pselect6",
        "the table does not describe what this pointer leads to: the address is in the log",
    ),
    Difference(
        "adjtimex clock_adjtime timer_create mq_notify landlock_add_rule open_by_handle_at ustat",
        "the structure is not taken apart: its bytes are in the log",
        results=True,
    ),
    Difference(
        "quotactl quotactl_fd syslog sysfs keyctl kcmp ptrace reboot create_module query_module "
        "kexec_load io_uring_enter sched_setattr request_key semctl swapon ioperm lookup_dcookie "
        "socketpair modify_ldt",
        "a rare call's number in another base, by another name, or one more than this request needs",
        results=True,
    ),
    Difference(
        "ioctl fcntl",
        "structures show what was there before the call, too; of terminals only the flags that are set; of one "
        "number with several names one; requests that this strace does not know",
    ),
    Difference(
        "capget capset statx sysinfo statfs landlock_create_ruleset sched_getattr mq_open mq_getsetattr "
        "futex futex_waitv clone3 sched_setscheduler sched_get_priority_min get_mempolicy",
        "constants or members of a structure are written out in another way, or fewer of them",
    ),
    Difference(
        "truncate ftruncate nanosleep clock_settime",
        "negative numbers are shown as such, which strace takes for very large ones",
    ),
    Difference(
        "setsockopt getsockopt getsockname fanotify_init inotify_add_watch",
        "the log takes apart or names what strace shows as bytes, or the reverse",
    ),
    Difference(
        "open",
        "a path that is longer than any path is not kept: the kernel does not read it either",
    ),
    Difference(
        "rt_sigsuspend pause",
        "what the program gets to see is EINTR; strace shows what the kernel means to do",
        results=True,
    ),
    Difference("rt_sigreturn", "the mask that it restores is part of the frame, and no argument"),
    Difference("restart_syscall", "strace says which call it would restart"),
    Difference(
        "setgroups sethostname setdomainname select",
        "memory is in the log that the kernel did not read, since it refused the length first",
    ),
    Difference("add_key", "serial numbers of keys are drawn by lot", results=True),
    Difference("keyctl", "the same", results=True),
    Difference("getppid getpgid getpgrp getsid", "who started the program", results=True),
    Difference(
        "dup",
        "the proxy leaves two descriptors open when pipe's result finds no memory to go to",
        route="proxy",
        results=True,
    ),
    Difference(
        "kcmp bpf pidfd_getfd landlock_create_ruleset landlock_add_rule landlock_restrict_self open",
        "described as partial: the program's process has no descriptors of its own",
        route="proxy",
        results=True,
    ),
    Difference(
        "select",
        "a number beyond the kernel's table of descriptors is ignored, and the proxy's table is larger",
        route="proxy",
        results=True,
    ),
    Difference(
        "umount2",
        "after unshare(CLONE_NEWNS) program and proxy have a mount namespace each",
        route="proxy",
        results=True,
    ),
)
NEVER_MADE = {
    "uretprobe": "the kernel answers with SIGILL",
    "uprobe": "the kernel answers with SIGILL",
}
