/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be over at the moment a wait for a child returns, however the child ended: its ports are free, its locks
 * released, its ends of pipes closed. Nothing here waits a little longer.
 */
#include "check.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>

enum way { EXITS, IS_KILLED, HAD_A_CHILD, EXECS, FAULTS, WAYS };

static const char *const names[WAYS] = {"exit", "kill", "exit after a child", "exec", "fault"};

static int listen_at(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	if (bind(fd, (struct sockaddr *)address, sizeof *address) || listen(fd, 1)) {
		close(fd);
		return -1;
	}
	MUST(getsockname(fd, (struct sockaddr *)address, &length));
	return fd;
}

static void end(enum way way)
{
	switch (way) {
	case IS_KILLED:
		kill(getpid(), SIGKILL);
		break;
	case HAD_A_CHILD:
		if (!fork())
			_exit(0);
		wait(NULL);
		break;
	case EXECS:
		execl("/bin/true", "true", (char *)NULL);
		break;
	case FAULTS:
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		break;
	default:
		break;
	}
	_exit(0);
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd, lock, p[2], rounds = 8, free_ports, free_locks, closed;
	char byte;
	pid_t child;

	begin();
	fd = listen_at(&address); /* chooses the port that all others take */
	close(fd);
	for (enum way way = 0; way < WAYS; way++) {
		free_ports = free_locks = closed = 0;
		for (int i = 0; i < rounds; i++) {
			MUST(pipe2(p, O_NONBLOCK | O_CLOEXEC));
			child = (pid_t)MUST(fork());
			if (!child) {
				lock = open("lock", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
				if (listen_at(&address) < 0 || flock(lock, LOCK_EX | LOCK_NB))
					_exit(9);
				end(way);
			}
			close(p[1]);
			MUST(waitpid(child, NULL, 0));
			closed += read(p[0], &byte, 1) == 0;
			close(p[0]);
			fd = listen_at(&address);
			free_ports += fd >= 0;
			close(fd);
			lock = MUST(open("lock", O_CREAT | O_RDWR, 0600));
			free_locks += flock(lock, LOCK_EX | LOCK_NB) == 0;
			close(lock);
		}
		printf("%s: ports %d locks %d pipes %d\n", names[way], free_ports, free_locks, closed);
	}
	return 0;
}
