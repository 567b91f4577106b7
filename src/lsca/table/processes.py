# SPDX-License-Identifier: Apache-2.0
"""Processes: how they begin, change, end, and are waited for; and calls on other processes."""

from typing import Final

from lsca.table.arguments import (
    Address,
    Chosen,
    DirFd,
    Fd,
    Hex,
    In,
    Int,
    Out,
    Path,
    Pid,
    Pointer,
    Size,
    Strings,
    Value,
)
from lsca.table.constants import Enum, Flags
from lsca.table.effects import FORKS, Does, Names, Posts, by
from lsca.table.layouts import SIZE_1, Layout, Struct, number
from lsca.table.limits import RUSAGE
from lsca.table.paths import AT_FLAGS
from lsca.table.signals import SIGINFO, SIGNALS
from lsca.table.syscall import Handled, Runs, Support, Syscall
from lsca.table.text import (
    Piece,
    View,
    show_address,
    show_hex,
    show_size,
)

_CLONE_NAMES: Final = (
    "CLONE_VM=0x100 CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PIDFD CLONE_PTRACE CLONE_VFORK "
    "CLONE_PARENT CLONE_THREAD CLONE_NEWNS CLONE_SYSVSEM CLONE_SETTLS CLONE_PARENT_SETTID "
    "CLONE_CHILD_CLEARTID CLONE_DETACHED CLONE_UNTRACED CLONE_CHILD_SETTID CLONE_NEWCGROUP "
    "CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_IO"
)
EXIT_SIGNALS: Final = Enum("0x0=0")
EXIT_SIGNALS.names = {number: name for number, name in SIGNALS.names.items() if number}
CLONE_FLAGS: Final = Flags(_CLONE_NAMES, base=EXIT_SIGNALS, mask=0xFF, base_last=True)
CLONE3_FLAGS: Final = Flags(
    f"{_CLONE_NAMES} CLONE_CLEAR_SIGHAND=0x100000000 CLONE_INTO_CGROUP=0x200000000"
)
UNSHARE_FLAGS: Final = Flags(f"{_CLONE_NAMES} CLONE_NEWTIME=0x80")
WAIT_FLAGS: Final = Flags(
    "WNOHANG=1 WSTOPPED=2 WEXITED=4 WCONTINUED=8 WNOWAIT=0x1000000 __WNOTHREAD=0x20000000 "
    "__WALL=0x40000000 __WCLONE=0x80000000"
)
WAIT4_FLAGS: Final = Flags(
    "WNOHANG=1 WSTOPPED=2 WCONTINUED=8 __WNOTHREAD=0x20000000 __WALL=0x40000000 __WCLONE=0x80000000"
)
WAIT_FOR: Final = Enum("P_ALL P_PID P_PGID P_PIDFD")
PRCTL: Final = Enum(
    "PR_SET_PDEATHSIG=1 PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE PR_GET_UNALIGN "
    "PR_SET_UNALIGN PR_GET_KEEPCAPS PR_SET_KEEPCAPS PR_GET_FPEMU PR_SET_FPEMU PR_GET_FPEXC "
    "PR_SET_FPEXC PR_GET_TIMING PR_SET_TIMING PR_SET_NAME PR_GET_NAME PR_GET_ENDIAN=19 "
    "PR_SET_ENDIAN PR_GET_SECCOMP PR_SET_SECCOMP PR_CAPBSET_READ PR_CAPBSET_DROP PR_GET_TSC "
    "PR_SET_TSC PR_GET_SECUREBITS PR_SET_SECUREBITS PR_SET_TIMERSLACK PR_GET_TIMERSLACK "
    "PR_TASK_PERF_EVENTS_DISABLE PR_TASK_PERF_EVENTS_ENABLE PR_MCE_KILL PR_MCE_KILL_GET PR_SET_MM "
    "PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS "
    "PR_GET_TID_ADDRESS PR_SET_THP_DISABLE PR_GET_THP_DISABLE PR_MPX_ENABLE_MANAGEMENT "
    "PR_MPX_DISABLE_MANAGEMENT PR_SET_FP_MODE PR_GET_FP_MODE PR_CAP_AMBIENT PR_SVE_SET_VL=50 "
    "PR_SVE_GET_VL PR_GET_SPECULATION_CTRL PR_SET_SPECULATION_CTRL PR_PAC_RESET_KEYS "
    "PR_SET_TAGGED_ADDR_CTRL PR_GET_TAGGED_ADDR_CTRL PR_SET_IO_FLUSHER PR_GET_IO_FLUSHER "
    "PR_SET_SYSCALL_USER_DISPATCH PR_PAC_SET_ENABLED_KEYS PR_PAC_GET_ENABLED_KEYS PR_SCHED_CORE "
    "PR_SME_SET_VL PR_SME_GET_VL PR_SET_MDWE PR_GET_MDWE PR_SET_MEMORY_MERGE PR_GET_MEMORY_MERGE "
    "PR_RISCV_V_SET_CONTROL PR_RISCV_V_GET_CONTROL PR_RISCV_SET_ICACHE_FLUSH_CTX "
    "PR_PPC_GET_DEXCR PR_PPC_SET_DEXCR PR_GET_SHADOW_STACK_STATUS PR_SET_SHADOW_STACK_STATUS "
    "PR_LOCK_SHADOW_STACK_STATUS PR_TIMER_CREATE_RESTORE_IDS PR_FUTEX_HASH "
    "PR_SET_VMA=0x53564d41 PR_SET_PTRACER=0x59616d61"
)


def show_status(value: int, view: View) -> str:
    """A wait status taken apart: {WIFEXITED(s) && WEXITSTATUS(s) == 0}."""
    status = value & 0xFFFFFFFF
    low = status & 0x7F
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    if status & 0xFF == 0x7F:
        text = f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {SIGNALS(status >> 8 & 0xFF, view)}}}"
        event = status >> 16
        return f"{text} | {event:#x}" if event else text
    if low:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {SIGNALS(low, view)}{core}}}"
    return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"


PERSONALITIES: Final = Flags(
    "UNAME26=0x20000 ADDR_NO_RANDOMIZE=0x40000 FDPIC_FUNCPTRS MMAP_PAGE_ZERO ADDR_COMPAT_LAYOUT "
    "READ_IMPLIES_EXEC ADDR_LIMIT_32BIT SHORT_INODE WHOLE_SECONDS STICKY_TIMEOUTS ADDR_LIMIT_3GB",
    base=Enum("PER_LINUX PER_LINUX32=8"),
    mask=0xFF,
)
ARCH_PRCTL: Final = Enum(
    "ARCH_SET_GS=0x1001 ARCH_SET_FS ARCH_GET_FS ARCH_GET_GS ARCH_GET_CPUID=0x1011 ARCH_SET_CPUID "
    "ARCH_GET_XCOMP_SUPP=0x1021 ARCH_GET_XCOMP_PERM ARCH_REQ_XCOMP_PERM ARCH_GET_XCOMP_GUEST_PERM "
    "ARCH_REQ_XCOMP_GUEST_PERM ARCH_CET_STATUS=0x3001 ARCH_GET_UNTAG_MASK=0x4001 "
    "ARCH_ENABLE_TAGGED_ADDR ARCH_GET_MAX_TAG_BITS ARCH_FORCE_TAGGED_SVA ARCH_SHSTK_ENABLE=0x5001 "
    "ARCH_SHSTK_DISABLE ARCH_SHSTK_LOCK ARCH_SHSTK_UNLOCK ARCH_SHSTK_STATUS"
)
QUERY: Final = 0xFFFFFFFF


def show_persona(value: int, view: View) -> str:
    """A personality; all ones asks for the present one."""
    value &= 0xFFFFFFFF
    return f"{value:#x}" if value == QUERY else PERSONALITIES(value, view)


STATUS: Final = number("int", "i", show_status)

CLONE_ARGS_STRUCT: Final = Struct(
    "clone_args",
    {
        "flags": ("Q", CLONE3_FLAGS),
        "pidfd": ("Q", show_address),
        "child_tid": ("Q", show_address),
        "parent_tid": ("Q", show_address),
        "exit_signal": ("Q", SIGNALS),
        "stack": ("Q", show_address),
        "stack_size": ("Q", show_hex),
        "tls": ("Q", show_hex),
        "set_tid": ("Q", show_address),
        "set_tid_size": ("Q", show_size),
        "cgroup": ("Q", show_size),
    },
)


def _show_clone_args(piece: Piece, view: View) -> str:
    """Only the members that say something for these flags."""
    values = CLONE_ARGS_STRUCT.values(piece.data, view.machine)
    flags = int(values.get("flags", 0))
    wanted = {
        "pidfd": flags & CLONE3_FLAGS["CLONE_PIDFD"],
        "child_tid": flags & 0x1200000,
        "parent_tid": flags & CLONE3_FLAGS["CLONE_PARENT_SETTID"],
        "tls": flags & CLONE3_FLAGS["CLONE_SETTLS"],
        "set_tid": values.get("set_tid_size"),
        "set_tid_size": values.get("set_tid_size"),
        "cgroup": flags & CLONE3_FLAGS["CLONE_INTO_CGROUP"],
    }
    texts = []
    for member in CLONE_ARGS_STRUCT.fields[view.machine]:
        if member.name in values and wanted.get(member.name, True) and member.show:
            texts.append(f"{member.name}={member.show(int(values[member.name]), view)}")
    if len(piece.data) < min(piece.full, CLONE_ARGS_STRUCT.size[view.machine]):
        texts.append("...")
    return "{" + ", ".join(texts) + "}"


CLONE_ARGS: Final = Layout("struct clone_args", SIZE_1, _show_clone_args, shape=CLONE_ARGS_STRUCT)


def _flag(name: str) -> int:
    return CLONE_FLAGS[name]


def _tids_parent(view: View) -> bool:
    return bool(view.value("flags") & (_flag("CLONE_PARENT_SETTID") | _flag("CLONE_PIDFD")))


def _tids_child(view: View) -> bool:
    return bool(view.value("flags") & (_flag("CLONE_CHILD_SETTID") | _flag("CLONE_CHILD_CLEARTID")))


def _sets_tls(view: View) -> bool:
    return bool(view.value("flags") & _flag("CLONE_SETTLS"))


class fork(
    Syscall,
    x86_64=57,
    runs=Runs.PROGRAM,
    handled=Handled.BEFORE,
    effect=FORKS,
    errors="EAGAIN ENOMEM",
):
    """create a child process"""


class vfork(
    Syscall,
    x86_64=58,
    runs=Runs.PROGRAM,
    blocks=True,
    handled=Handled.BEFORE,
    effect=FORKS,
    errors="EAGAIN ENOMEM",
):
    """create a child process and block parent"""


NOT_SHARED = (
    "under the route proxy a process that would share descriptors or directory with its maker (CLONE_FILES, CLONE_FS) "
    "is refused with EINVAL"
)


class clone(
    Syscall,
    x86_64=56,
    generic=220,
    runs=Runs.PROGRAM,
    handled=Handled.BEFORE,
    support=Support.PARTIAL,
    caveat=NOT_SHARED,
    generic_order=("flags", "child_stack", "parent_tid", "tls", "child_tid"),
    effect=by(Does.CLONES, "flags"),
    labels={
        "child_stack": "child_stack",
        "flags": "flags",
        "parent_tid": "parent_tid",
        "tls": "tls",
        "child_tid": "child_tidptr",
    },
    errors="EAGAIN ENOMEM",
):
    """create a child process"""

    flags = Chosen(CLONE_FLAGS)
    child_stack = Address()
    parent_tid = Pointer(when=_tids_parent)
    child_tid = Pointer(when=_tids_child)
    tls = Value(show_hex, when=_sets_tls)


class clone3(
    Syscall,
    x86_64=435,
    generic=435,
    since="5.3",
    runs=Runs.PROGRAM,
    handled=Handled.BEFORE,
    support=Support.PARTIAL,
    caveat=NOT_SHARED,
    effect=by(Does.CLONES_3, "cl_args"),
    errors="EAGAIN ENOMEM",
):
    """create a child process"""

    cl_args = In(CLONE_ARGS, length="size")
    size = Size()


class execve(
    Syscall, x86_64=59, generic=221, runs=Runs.PROGRAM, errors="EACCES ENOENT ENOMEM E2BIG"
):
    """execute program"""

    pathname = Path()
    argv = Strings()
    envp = Strings(count_only=True)


class execveat(
    Syscall,
    x86_64=322,
    generic=281,
    since="3.19",
    runs=Runs.PROGRAM,
    errors="EACCES ENOENT ENOMEM E2BIG",
):
    """execute program relative to a directory file descriptor"""

    dirfd = DirFd()
    pathname = Path()
    argv = Strings()
    envp = Strings(count_only=True)
    flags = Chosen(AT_FLAGS)


class exit(Syscall, x86_64=60, generic=93, runs=Runs.PROGRAM, handled=Handled.WATCHED):
    """terminate the calling thread"""

    status = Int()


class exit_group(Syscall, x86_64=231, generic=94, runs=Runs.PROGRAM, handled=Handled.WATCHED):
    """exit all threads in a process"""

    status = Int()


class wait4(Syscall, x86_64=61, generic=260, runs=Runs.PROGRAM, blocks=True, errors="EINTR ECHILD"):
    """wait for process to change state"""

    pid = Pid()
    wstatus = Out(STATUS)
    options = Chosen(WAIT4_FLAGS)
    rusage = Out(RUSAGE)


class waitid(
    Syscall,
    x86_64=247,
    generic=95,
    runs=Runs.PROGRAM,
    blocks=True,
    support=Support.PARTIAL,
    caveat="under the route `proxy` P_PIDFD needs a descriptor that the program itself has",
    errors="EINTR ECHILD",
):
    """wait for process to change state, in more detail"""

    idtype = Chosen(WAIT_FOR)
    id = Pid()
    infop = Out(SIGINFO)
    options = Chosen(WAIT_FLAGS)
    rusage = Out(RUSAGE)


class prctl(
    Syscall,
    x86_64=157,
    generic=167,
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="arguments after the option are logged as numbers; the proxy does not follow changes; "
    "for PR_SET_SECCOMP see seccomp",
    classes=("creds",),
    posts=Posts.ENDS,
):
    """operations on a process or thread"""

    option = Chosen(PRCTL)
    arg2 = Hex()
    arg3 = Hex()
    arg4 = Hex()
    arg5 = Hex()


class arch_prctl(Syscall, x86_64=158, since="2.6", runs=Runs.PROGRAM, classes=()):
    """set architecture-specific thread state"""

    code = Chosen(ARCH_PRCTL)
    addr = Hex()


class personality(
    Syscall,
    x86_64=135,
    generic=92,
    runs=Runs.PROGRAM,
    returns=show_hex,
    note=lambda view: PERSONALITIES(view.ret or 0, view),
    classes=(),
):
    """set the process execution domain"""

    persona = Value(show_persona)


class set_tid_address(Syscall, x86_64=218, generic=96, runs=Runs.PROGRAM, classes=()):
    """set pointer to thread ID"""

    tidptr = Address()


class unshare(
    Syscall,
    x86_64=272,
    generic=97,
    since="2.6.16",
    runs=Runs.BOTH,
    support=Support.PARTIAL,
    caveat="each side gets namespaces of its own: what one does in them, the other does not see",
    identity=True,
    effect=by(Does.UNSHARES, "flags"),
    classes=(),
    names=Names.UNKNOWN,
    posts=Posts.ENDS,
):
    """disassociate parts of the process execution context"""

    flags = Chosen(UNSHARE_FLAGS)


class setns(
    Syscall,
    x86_64=308,
    generic=268,
    since="3.0",
    runs=Runs.BOTH,
    support=Support.PARTIAL,
    caveat="a user namespace cannot be entered by a program or proxy with several threads",
    identity=True,
    classes=(),
    names=Names.UNKNOWN,
):
    """reassociate thread with a namespace"""

    fd = Fd()
    nstype = Chosen(UNSHARE_FLAGS)
