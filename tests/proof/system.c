/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on who one is, on limits, on the machine, and the rare ones: a part for each family. See proof.h. */
#include "proof.h"

#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/aio_abi.h>
#include <linux/keyctl.h>
#include <linux/kcmp.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>

static void identity(void)
{
	static unsigned r[3], groups[2] = {5, 6};
	static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	static struct __user_cap_data_struct caps[2];

	C(getpid);
	C(gettid);
	C(getppid);
	C(getuid);
	C(getgid);
	C(geteuid);
	C(getegid);
	C(getpgrp);
	C(getpgid, 0);
	C(getpgid, 999999);
	C(getsid, 0);
	C(getsid, 999999);
	C(setpgid, 999999, 0);
	C(setpgid, 0, -5);
	C(getresuid, r, r + 1, r + 2);
	C(getresuid, BAD, r, r);
	C(getresgid, r, r + 1, r + 2);
	C(getresgid, BAD, r, r);
	C(getgroups, 0, NULL);
	C(getgroups, 2, groups);
	C(getgroups, -1, groups);
	C(setuid, -1);
	C(setgid, -1);
	C(setresuid, -1, -1, -1);
	C(setresgid, -1, -1, -1);
	C(setreuid, -1, -1);
	C(setregid, -1, -1);
	C(setfsuid, -1);
	C(setfsgid, -1);
	C(capget, &header, caps);
	C(capset, &header, caps);
	header.version = 5;
	C(capget, &header, caps);
	C(capset, &header, BAD);
	CHILD(C(setpgid, 0, 0); C(setpgid, 0, 0));
	CHILD(C(setsid);
	      C(setsid);
	      C(setpgid, 0, 0);
	      C(setgroups, 2, groups);
	      C(getgroups, 2, groups);
	      C(setgroups, -1, groups);
	      C(setfsgid, 7);
	      C(setfsuid, 7);
	      C(setregid, -1, 7);
	      C(setresgid, 7, 7, 7);
	      C(setgid, 7);
	      C(setreuid, -1, 7);
	      C(setreuid, -1, 0);
	      C(setresuid, 7, 7, 7);
	      C(setuid, 7);
	      C(setuid, 0);
	      C(setgid, 0));
}

static void limits(void)
{
	static struct rlimit limit;
	static struct rusage usage;
	static struct tms times;

	C(getrlimit, RLIMIT_NOFILE, &limit);
	C(setrlimit, RLIMIT_NOFILE, &limit);
	C(getrlimit, RLIMIT_CORE, &limit);
	C(getrlimit, 99, &limit);
	C(setrlimit, 99, &limit);
	C(prlimit64, 0, RLIMIT_STACK, NULL, &limit);
	C(prlimit64, 0, RLIMIT_STACK, &limit, NULL);
	C(prlimit64, 999999, RLIMIT_AS, NULL, &limit);
	C(getrusage, RUSAGE_SELF, &usage);
	C(getrusage, 99, &usage);
	C(times, &times);
	C(times, BAD);
	C(getpriority, PRIO_PROCESS, 0);
	C(getpriority, 99, 0);
	C(setpriority, PRIO_PROCESS, 0, 0);
	C(setpriority, PRIO_PGRP, 999999, 5);
}

static void system_(void)
{
	static struct utsname name;
	static struct sysinfo info;

	C(uname, &name);
	C(uname, BAD);
	C(sysinfo, &info);
	C(sysinfo, BAD);
	C(syslog, 10, NULL, 0);
	C(syslog, 99, NULL, 0);
	C(sysfs, 3);
	C(sysfs, 1, "nosuchfs");
	C(modify_ldt, 0, M0, 100);
	C(modify_ldt, 9, M0, 100);
	C(acct, "missing");
	C(reboot, 1, 2, 3, NULL);
	CHILD(C(unshare, CLONE_NEWUTS); C(sethostname, "a-name", 6); C(setdomainname, "a-domain", 8));
	C(sethostname, M0, -1);
	C(setdomainname, M0, -1);
	C(iopl, 0);
	C(iopl, 9);
	C(ioperm, 0x80, 1, 0);
	C(ioperm, -1, 1, 1);
	C(init_module, BAD, 10, "options");
	C(finit_module, NOFD, "options", 3);
	C(delete_module, "no_such_module", O_NONBLOCK);
	C(kexec_load, 0, 0, NULL, 0x7777);
	C(kexec_file_load, NOFD, NOFD, 0, NULL, 0x70);
	C(getrandom, M0, 5, GRND_NONBLOCK);
	C(getrandom, M0, 100, GRND_RANDOM | 0x80);
	CHILD(C(setsid); C(vhangup));
}

static void remote(void)
{
	static struct iovec here[2] = {{M0, 10}, {M1, 5}}, there[1] = {{"what is there", 14}};
	static siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
	long pid = C(getpid), fd = C(pidfd_open, pid, 0);

	C(pidfd_open, 999999, 0);
	C(pidfd_open, pid, 5);
	C(process_vm_readv, pid, here, 2, there, 1, 0);
	C(process_vm_readv, 999999, here, 2, there, 1, 0);
	there[0].iov_base = M2;
	C(process_vm_writev, pid, here, 2, there, 1, 0);
	C(process_vm_writev, pid, here, 2, there, 1, 5);
	C(kcmp, pid, pid, KCMP_FILE, 0, 1);
	C(kcmp, 999999, pid, KCMP_VM, 0, 0);
	C(pidfd_send_signal, fd, 0, NULL, 0);
	C(pidfd_send_signal, NOFD, SIGUSR1, &info, 0);
	C(pidfd_getfd, fd, 0, 0);
	C(pidfd_getfd, fd, NOFD, 0);
	C(process_madvise, fd, here, 1, MADV_COLD, 0);
	C(process_madvise, NOFD, here, 1, MADV_PAGEOUT, 0);
	C(process_mrelease, fd, 0);
	C(process_mrelease, NOFD, 0);
	C(ptrace, PTRACE_ATTACH, 999999, 0, 0);
	C(ptrace, PTRACE_PEEKDATA, 999999, M0, M1);
}

static void obsolete(void)
{
	C(uselib, "missing");
	C(_sysctl, M0);
	C(create_module, "name", 5);
	C(get_kernel_syms, M0);
	C(query_module, "name", 1, M0, 5, M1);
	C(nfsservctl, 0, M0, M1);
	C(getpmsg, 1, M0, M1, M2, M3);
	C(putpmsg, 1, M0, M1, 5, 6);
	C(afs_syscall, 1, 2, 3, 4, 5);
	C(tuxcall, 1, 2, 3);
	C(security, 1, 2, 3);
	C(set_thread_area, M0);
	C(get_thread_area, M0);
	C(lookup_dcookie, 5, M0, 100);
	C(epoll_ctl_old, 1, 2, 3, 4);
	C(epoll_wait_old, 1, 2, 3, 4);
	C(vserver, 1, 2, 3, 4, 5);
}

static void asynchronous(void)
{
	static aio_context_t context;
	static struct iocb one, *list[1] = {&one};
	static struct io_event events[2];
	static struct timespec soon = {0, 1000000};
	static struct io_uring_params params;
	long fd = C(open, "data", O_RDWR | O_CREAT, 0644), ring;

	C(io_setup, 5, &context);
	C(io_setup, 0, &context);
	one.aio_lio_opcode = IOCB_CMD_PWRITE;
	one.aio_fildes = fd;
	one.aio_buf = (uint64_t)"written";
	one.aio_nbytes = 7;
	C(io_submit, context, 1, list);
	C(io_submit, 5, 1, list);
	C(io_getevents, context, 1, 2, events, NULL);
	C(io_getevents, context, 1, 2, events, &soon);
	C(io_getevents, 5, 1, 2, events, NULL);
	C(io_pgetevents, context, 1, 2, events, &soon, NULL);
	C(io_cancel, context, &one, events);
	C(io_destroy, context);
	C(io_destroy, 5);
	ring = C(io_uring_setup, 4, &params);
	C(io_uring_setup, 0, &params);
	C(io_uring_enter, ring, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	C(io_uring_enter, NOFD, 1, 1, 0, NULL, 0);
	C(io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
	C(io_uring_register, NOFD, IORING_REGISTER_FILES, M0, 1);
}

static void security(void)
{
	static struct perf_event_attr perf = {.type = PERF_TYPE_SOFTWARE, .size = sizeof perf, .disabled = 1};
	static union bpf_attr bpf;
	static struct landlock_ruleset_attr rules = {LANDLOCK_ACCESS_FS_EXECUTE};
	static struct landlock_path_beneath_attr beneath = {LANDLOCK_ACCESS_FS_EXECUTE, 0};
	static uint32_t action = SECCOMP_RET_TRAP, size = 4096;
	long fd;

	C(add_key, "user", "proof", "payload", 7, KEY_SPEC_PROCESS_KEYRING);
	C(add_key, "nosuch", "proof", "payload", 7, KEY_SPEC_PROCESS_KEYRING);
	C(request_key, "user", "no such key", NULL, 0);
	C(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0);
	C(keyctl, 999, 1, 2, 3, 4);
	C(perf_event_open, &perf, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	C(perf_event_open, &perf, 999999, -1, NOFD, 0x100);
	C(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
	C(seccomp, 99, 0, NULL);
	bpf.map_type = BPF_MAP_TYPE_ARRAY;
	bpf.key_size = 4;
	bpf.value_size = 8;
	bpf.max_entries = 1;
	C(bpf, BPF_MAP_CREATE, &bpf, sizeof bpf);
	C(bpf, 999, &bpf, sizeof bpf);
	C(landlock_create_ruleset, NULL, 0, 1);
	fd = C(landlock_create_ruleset, &rules, 8, 0);
	C(landlock_create_ruleset, &rules, 2, 0);
	beneath.parent_fd = C(open, ".", O_PATH | O_CLOEXEC);
	C(landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	C(landlock_add_rule, NOFD, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	C(landlock_restrict_self, NOFD, 0);
	CHILD(C(landlock_restrict_self, fd, 0));
	N(lsm_get_self_attr, 100, M0, &size, 0);
	N(lsm_set_self_attr, 100, M0, 0, 0);
	N(lsm_list_modules, M0, &size, 0);
	N(lsm_list_modules, M0, &size, 5);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"identity", identity}, {"limits", limits}, {"system", system_},	   {"remote", remote},
		{"obsolete", obsolete}, {"security", security}, {"asynchronous", asynchronous}, {},
	};

	return run_part(parts, argc, argv);
}
