/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose own filter kills for all but a few calls: what the agent does for the log must not be among those
 * that are missing. Argument: how often to call. Binds a socket, of which the log tells more than the call does, and
 * forks.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LET(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void call(int calls)
{
	for (int i = 0; i < calls; i++)
		syscall(SYS_getpgid, 0);
}

int main(int argc, char **argv)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), LET(SYS_getpgid), LET(SYS_write), LET(SYS_exit_group),
		LET(SYS_clone), LET(SYS_wait4), LET(SYS_bind), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog filter = {sizeof insns / sizeof *insns, insns};
	struct sockaddr address = {.sa_family = AF_UNIX};
	int calls = argc > 1 ? atoi(argv[1]) : 0, fd = socket(AF_UNIX, SOCK_STREAM, 0), status = 1;
	long child;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		return 77;
	syscall(SYS_bind, fd, &address, sizeof address.sa_family);
	syscall(SYS_write, 1, "filtered\n", 9);
	call(calls);
	child = syscall(SYS_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);
	if (!child) {
		call(calls);
		syscall(SYS_exit_group, 0);
	}
	syscall(SYS_wait4, child, &status, 0, 0);
	syscall(SYS_exit_group, status != 0);
}
