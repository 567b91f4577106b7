/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launcher without a first program: programs join its session one by one (native/join), for as long as whoever has
 * the other end of a socket wants. A byte on it asks for the log's file to be brought up to date, and is answered with
 * one; HOST_END, or the end of the socket, lets the session end with its last program. A thread of the launcher.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

static void sync_log(struct launch *l)
{
	struct drain *d = &l->drain;

	if (!d->runs)
		return;
	pthread_mutex_lock(&d->lock);
	/* The first pass may stop at a full block, and finds out who is dead; the second takes what they have left. */
	drain_pass(d, 1, 1);
	drain_flush(d);
	drain_pass(d, 1, 0);
	drain_flush(d);
	pthread_mutex_unlock(&d->lock);
}

static void *listen_to_owner(void *arg)
{
	struct launch *l = arg;
	char byte;
	ssize_t n;

	while ((n = read(l->plan->host_fd, &byte, 1)) == 1 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		if (byte == HOST_END)
			break;
		sync_log(l);
		if (send(l->plan->host_fd, &byte, 1, MSG_NOSIGNAL) != 1)
			break;
	}
	put_release(&l->host_ended, 1);
	add_one(&l->session->exec_bell);
	futex_call(&l->session->exec_bell);
	return NULL;
}

int host_start(struct launch *l)
{
	sigset_t all, before;
	pthread_t thread;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&thread, NULL, listen_to_owner, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!e)
		pthread_detach(thread);
	return -e;
}
