/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launcher without a first program: programs join its session one by one (native/join), for as long as whoever has
 * the other end of a socket wants. A byte on it asks for the log's file to be brought up to date, and is answered with
 * one; HOST_END, or the end of the socket, lets the session end with its last program. A thread of the launcher.
 *
 * One process forks many of them, and each but the first finds prepared what all need: the agent, and the call sites
 * that the programs of those before it have used, which the agent of every program checks anew.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

/* Memory of the launchers alone: no program has it. */
struct learned {
	uint32_t lock; /* of one who was killed: then nobody learns from the others any more */
	uint32_t news;
	uint32_t files[LIBRARIES]; /* all of it the agents' word, which they check */
	struct library libraries[LIBRARIES];
	struct known known; /* our own, and checked in every program */
};

static struct image prepared;
static struct learned *learned; /* NULL: nothing is prepared */

const char *host_prepare(const char *agent)
{
	const char *wrong = image_load(&prepared, agent);
	void *memory;

	if (wrong)
		return wrong;
	image_share(&prepared);
	session_baseline();
	memory = mmap(NULL, sizeof *learned, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return "cannot be prepared: no memory";
	learned = memory;
	return NULL;
}

/* Most are not there, and their memory neither. */
static void copy(uint32_t *files, struct library *libraries, const uint32_t *from, const struct library *what)
{
	for (uint32_t i = 0; i < LIBRARIES && from[i]; i++) {
		libraries[i] = what[i];
		files[i] = from[i];
	}
}

int host_prepared(struct launch *l)
{
	struct session *s = l->session;

	if (!learned)
		return 0;
	l->image = prepared;
	if (swap_if(&learned->lock, 0, 1)) {
		copy(s->library_files, s->libraries, learned->files, learned->libraries);
		s->library_news = learned->news;
		memcpy(l->known.images, learned->known.images, sizeof l->known.images);
		l->known.clock = learned->known.clock;
		for (int i = 0; i < KNOWN_IMAGES; i++)
			l->known.images[i].looked = ~s->library_news;
		put_release(&learned->lock, 0);
	}
	return 1;
}

void host_keep(const struct launch *l)
{
	const struct session *s = l->session;

	if (!learned || l->plan->host_fd < 0 || !swap_if(&learned->lock, 0, 1))
		return;
	if (s->library_news > learned->news) { /* of two at a time, the one that has learned more */
		copy(learned->files, learned->libraries, s->library_files, s->libraries);
		learned->news = s->library_news;
	}
	if (l->known.clock > learned->known.clock) {
		memcpy(learned->known.images, l->known.images, sizeof l->known.images);
		learned->known.clock = l->known.clock;
	}
	put_release(&learned->lock, 0);
}

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
