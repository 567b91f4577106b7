/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child of vfork puts something else at the number of its parent's connection, and then makes a call by which its
 * parent would leave its rings: nothing of the connection goes to what stands there now.
 */
#include "ready.h"

static void at_work(int fd, int foreign, const char *how)
{
	if (dup2(foreign, fd) != fd)
		_exit(1);
	if (!strcmp(how, "setuid") && syscall(SYS_setuid, getuid()))
		_exit(2);
	if (!strcmp(how, "setns") && syscall(SYS_setns, -1, 0) != -1)
		_exit(3);
	_exit(0);
}

int main(int argc, char **argv)
{
	int fds[2], foreign[2], go[2], status;
	char bytes[200];
	pid_t peer, child;

	CHECK(argc == 3 && !pipe(go) && !socketpair(AF_UNIX, SOCK_STREAM, 0, foreign));
	make_pair(strcmp(argv[1], "tcp") ? PAIR : TCP, fds);
	fcntl(fds[1], F_SETFL, 0);
	peer = fork();
	if (!peer) {
		close(fds[0]);
		CHECK(read(go[0], bytes, 1) == 1);
		printf("%zd\n", recv(fds[1], bytes, 100, MSG_WAITALL));
		return 0;
	}
	close(fds[1]);
	memset(bytes, 'x', sizeof bytes);
	CHECK(write(fds[0], bytes, 100) == 100);
	child = vfork();
	if (!child)
		at_work(fds[0], foreign[0], argv[2]);
	CHECK(waitpid(child, &status, 0) == child);
	printf("child %d\n", status);
	fflush(stdout);
	CHECK(write(go[1], "!", 1) == 1 && waitpid(peer, &status, 0) == peer && !status);
	printf("elsewhere %zd\n", recv(foreign[1], bytes, sizeof bytes, MSG_DONTWAIT));
	return 0;
}
