/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of one of four kinds between a test program and its child. */
#ifndef LSCA_TEST_LINKS_H
#define LSCA_TEST_LINKS_H

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

static inline void must(int is_well, const char *what)
{
	if (is_well)
		return;
	perror(what);
	_exit(99);
}

/* tcp, unix, pair or pipe. Both have `in` and `out`, which are the same but for pipes; the child has 0. */
static inline pid_t connected(const char *kind, int *in, int *out)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un here = {.sun_family = AF_UNIX};
	int is_pipe = !strcmp(kind, "pipe"), is_pair = !strcmp(kind, "pair"), is_tcp = !strcmp(kind, "tcp");
	struct sockaddr *at = is_tcp ? (void *)&any : (void *)&here;
	socklen_t len = is_tcp ? sizeof any : sizeof(sa_family_t); /* so short, the kernel chooses a name */
	int there[2], back[2], listener = -1;
	pid_t child;

	if (is_pipe) {
		must(!pipe(there) && !pipe(back), "pipe");
	} else if (is_pair) {
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, there), "socketpair");
	} else {
		listener = socket(at->sa_family, SOCK_STREAM, 0);
		must(!bind(listener, at, len) && !listen(listener, 1), "listen");
		len = is_tcp ? sizeof any : sizeof here;
		must(!getsockname(listener, at, &len), "getsockname");
	}
	child = fork();
	must(child >= 0, "fork");
	if (is_pipe) {
		*in = child ? back[0] : there[0];
		*out = child ? there[1] : back[1];
		close(child ? back[1] : there[1]);
		close(child ? there[0] : back[0]);
	} else if (is_pair) {
		*in = *out = there[!child];
		close(there[!!child]);
	} else {
		*in = *out = child ? socket(at->sa_family, SOCK_STREAM, 0) : accept(listener, NULL, NULL);
		must(*in >= 0 && (!child || !connect(*out, at, len)), "connect");
		close(listener);
	}
	return child;
}

#endif
