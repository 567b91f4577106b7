/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster's work, turn after turn: see poster.h. As long as something waits to be written it looks every two
 * milliseconds; what has not grown since it looked last is written, and what has waited for ten in any case. Otherwise
 * it sleeps until a program rings. It must never write to a file without having its entry's lock.
 */
#include "poster.h"

#include <linux/close_range.h>
#include <linux/futex.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "launch.h"

enum {
	TICK = 2, /* ms */
	OLD = 5,  /* ticks that something may wait */
	LOOK = 1000, /* ms, while files are open: for the dead */
	FINISH_TURNS = 500,
	FORGOTTEN = 1000, /* turns, after which who has not said what it wants never will */
	MEMORY_FD = 3, LIFELINE_FD = 4,
	BARRIER = 1 << 1, BARRIER_REGISTER = 1 << 2, /* membarrier's GLOBAL_EXPEDITED */
};

static void wake(void *word)
{
	post_call(NR_futex, (uint64_t)word, FUTEX_WAKE, 0x7fffffff, 0, 0);
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

static void let_go(struct poster *p, uint32_t i)
{
	if (p->held[i].fd >= 0)
		close(p->held[i].fd);
	p->held[i].fd = -1;
}

static void sync_file(struct poster *p, uint32_t i)
{
	struct held *h = &p->held[i];
	uint64_t done = __atomic_load_n(&p->files[i].done, __ATOMIC_ACQUIRE);

	if (!(p->head->flags & POST_SYNC) || h->fd < 0 || h->synced == done)
		return;
	if (fdatasync(h->fd) && errno != EINVAL && errno != EROFS) {
		struct post_file *f = &p->files[i];

		if (!f->error)
			f->error = errno;
		__atomic_or_fetch(&f->attention, POST_FAILED, __ATOMIC_RELEASE);
	}
	h->synced = done;
}

/* Under the lock. */
static void write_all(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i];

	post_flush(p->head, f, post_ring(p->head, i), p->held[i].fd);
	post_unlock(f);
	wake(&f->done);
}

/* Its program is writing by itself at this moment, or it is written now. */
static void bring(struct poster *p, uint32_t i)
{
	if (p->held[i].fd >= 0 && post_try(&p->files[i], p->me))
		write_all(p, i);
}

/* Who had the lock is dead. */
static void bring_after(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i];
	struct held *h = &p->held[i];
	uint64_t waits = f->tail - f->done;

	if (h->fd < 0) {
		if (waits <= POST_RING)
			__atomic_add_fetch(&p->head->lost, waits, __ATOMIC_RELAXED);
		put_release(&f->lock, 0);
		return;
	}
	if (__atomic_exchange_n(&f->lock, p->me, __ATOMIC_ACQ_REL))
		post_mend(f, post_ring(p->head, i), h->can_read ? h->fd : -1, h->fd);
	if (waits <= POST_RING)
		__atomic_add_fetch(&p->head->recovered, waits, __ATOMIC_RELAXED);
	write_all(p, i);
}

static void account(struct poster *p, struct post_file *f)
{
	__atomic_add_fetch(&p->head->writes, f->writes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->head->calls, f->calls, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->head->bytes, f->writes ? f->tail : 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->head->files, f->writes != 0, __ATOMIC_RELAXED);
	f->writes = f->calls = 0;
}

static void set_free(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i];

	let_go(p, i);
	put_release(&f->state, POST_FREE);
	wake(&f->state);
	wake(&f->done);
	poster_count(p);
}

/* Its program is dead. */
static void bury(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i];
	uint32_t state = get_acquire(&f->state);

	if (state == POST_OPEN || state == POST_LEAVING) {
		bring_after(p, i);
		sync_file(p, i);
		account(p, f);
	}
	set_free(p, i);
}

/* 1: there is something that will have to be written. */
static int look(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i];
	struct held *h = &p->held[i];
	uint64_t tail = __atomic_load_n(&f->tail, __ATOMIC_ACQUIRE);
	int wanted = (int)__atomic_exchange_n(&f->wanted, 0, __ATOMIC_ACQ_REL);

	if (tail == __atomic_load_n(&f->done, __ATOMIC_ACQUIRE)) {
		h->age = 0;
		h->seen = tail;
		sync_file(p, i);
		return 0;
	}
	if (wanted || tail == h->seen || ++h->age >= OLD) {
		bring(p, i);
		h->age = 0;
		if (wanted && tail != __atomic_load_n(&f->done, __ATOMIC_ACQUIRE))
			put_release(&f->wanted, 1); /* it is being written by its program */
		sync_file(p, i);
	}
	h->seen = tail;
	return 1;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* How many files are open; *busy: something waits. */
static uint32_t turn(struct poster *p, int *busy)
{
	uint32_t open = 0;

	*busy = 0;
	for (uint32_t i = 0, end = post_end(p->head); i < end; i++) {
		struct post_file *f = &p->files[i];
		uint32_t state = get_acquire(&f->state);

		if (state == POST_FREE) {
			let_go(p, i); /* its program did not know that we had it */
			continue;
		}
		if (state == POST_CLAIMED) {
			if (++p->held[i].age > FORGOTTEN && !process_alive(f->pid))
				set_free(p, i);
			continue;
		}
		if (state == POST_ASKED) {
			poster_answer(p, i);
			state = get_acquire(&f->state);
		} else if (poster_is_dead(p, (pid_t)f->pid)) {
			bury(p, i);
			continue;
		}
		if (state == POST_LEAVING) {
			sync_file(p, i);
			set_free(p, i);
		} else if (state == POST_OPEN) {
			open++;
			*busy |= look(p, i);
		}
	}
	return open;
}

/* Anything for us to do that nobody may ring for? Whoever posts from now on sees that we are asleep. */
static int is_quiet(struct poster *p)
{
	syscall(SYS_membarrier, BARRIER, 0, 0);
	for (uint32_t i = 0, end = post_end(p->head); i < end; i++) {
		const struct post_file *f = &p->files[i];
		uint32_t state = get_acquire(&f->state);

		if (state == POST_ASKED || state == POST_LEAVING ||
		    (state == POST_OPEN && __atomic_load_n(&f->tail, __ATOMIC_ACQUIRE) != f->done))
			return 0;
	}
	return 1;
}

static int is_over(struct poster *p)
{
	struct pollfd line = {.fd = p->lifeline};

	if (p->lifeline >= 0 && poll(&line, 1, 0) == 1) {
		close(p->lifeline);
		p->lifeline = -1;
	}
	return p->lifeline < 0;
}

static void loop(struct poster *p)
{
	struct post_head *h = p->head;

	for (;;) {
		uint32_t seen = get_acquire(&h->bell), open;
		int busy;

		open = turn(p, &busy);
		if (is_over(p) && !open)
			return;
		if (busy) {
			futex_sleep(&h->bell, seen, TICK);
			continue;
		}
		put_release(&h->asleep, 1);
		store_before_load();
		if (is_quiet(p))
			futex_sleep(&h->bell, seen, LOOK);
		put_relaxed(&h->asleep, 0);
	}
}

/* ---- its life ---------------------------------------------------------------------------------------------------- */

/* Whoever waits for the dead is to see it: our number stands in `poster`, where the kernel marks our end. */
static struct robust_list_head robust;
static struct robust_list entry;

static int begin(struct poster *p, int fd)
{
	uint32_t before;

	memset(p->held, 0, sizeof p->held);
	memset(p->watched, 0, sizeof p->watched);
	for (uint32_t i = 0; i < POST_FILES; i++)
		p->held[i].fd = -1;
	p->fd = fd;
	p->head = post_open(fd);
	if (!p->head || p->head->magic != POST_MAGIC || p->head->version != POST_VERSION)
		return 0;
	p->files = post_files(p->head);
	p->me = (uint32_t)syscall(SYS_gettid);
	before = get_acquire(&p->head->keeper);
	for (uint32_t i = 0, end = post_end(p->head); i < end && before; i++) {
		struct post_file *f = &p->files[i];
		uint32_t state = get_acquire(&f->state), lock;

		if (state != POST_OPEN && state != POST_LEAVING)
			continue;
		poster_adopt(p, i);
		lock = get_acquire(&f->lock);
		if ((lock & ~WORD_WAITERS) == before && swap_if(&f->lock, lock, p->me | (lock & WORD_WAITERS))) {
			if (p->held[i].fd >= 0)
				post_mend(f, post_ring(p->head, i), p->held[i].can_read ? p->held[i].fd : -1,
					  p->held[i].fd);
			post_unlock(f);
		}
	}
	put_relaxed(&p->head->keeper, p->me);
	put_release(&p->head->poster, p->me);
	poster_count(p);
	return 1;
}

static void be_known(struct poster *p)
{
	entry.next = &robust.list;
	robust = (struct robust_list_head){.list = {&entry},
					   .futex_offset = (char *)&p->head->poster - (char *)&entry};
	syscall(SYS_set_robust_list, &robust, sizeof robust);
}

static void be_alone(int fd, int lifeline)
{
	int null = open("/dev/null", O_RDWR);
	struct rlimit files;
	sigset_t all;

	fd = fcntl(fd, F_DUPFD, 10);
	lifeline = fcntl(lifeline, F_DUPFD, 10);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	dup2(fd, MEMORY_FD);
	dup2(lifeline, LIFELINE_FD);
	syscall(SYS_close_range, LIFELINE_FD + 1, ~0u, 0);
	setsid();
	prctl(PR_SET_NAME, "lsca-poster");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (!getrlimit(RLIMIT_FSIZE, &files)) { /* programs keep to theirs by themselves */
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_FSIZE, &files);
	}
	syscall(SYS_membarrier, BARRIER_REGISTER, 0, 0);
	if (chdir("/"))
		return;
}

pid_t poster_start(int fd, int lifeline)
{
	pid_t pid = fork();
	static struct poster p;

	if (pid)
		return pid < 0 ? -errno : pid;
	be_alone(fd, lifeline);
	p.lifeline = LIFELINE_FD;
	if (begin(&p, MEMORY_FD)) {
		be_known(&p);
		loop(&p);
		put_release(&p.head->poster, 0);
		post_remove(MEMORY_FD);
	}
	_exit(0);
}

int poster_finish(int fd)
{
	struct poster *p = calloc(1, sizeof *p);
	int busy = 1, is_done;

	if (!p)
		return 0;
	p->lifeline = -1;
	if (begin(p, fd)) {
		for (uint32_t i = 0, end = post_end(p->head); i < end; i++) {
			__atomic_or_fetch(&p->files[i].attention, POST_STOP, __ATOMIC_ACQ_REL);
			put_release(&p->files[i].wanted, 1);
		}
		syscall(SYS_membarrier, BARRIER, 0, 0); /* who has not seen it yet has posted before */
		/* Somebody who has a lock may be about to die. */
		for (int i = 0; i < FINISH_TURNS && busy; i++) {
			if (i)
				poll(NULL, 0, 1);
			turn(p, &busy);
		}
		for (uint32_t i = 0; i < POST_FILES; i++) {
			let_go(p, i);
			if (p->watched[i].pid)
				close(p->watched[i].pidfd);
		}
		put_release(&p->head->poster, 0);
	}
	is_done = p->head && !post_waiting(p->head, 0);
	post_close(p->head);
	free(p);
	return is_done;
}
