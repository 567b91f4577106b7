/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes and looks at a session's memory: routes by the table, the wait rule's numbers, the list of processes. Called by
 * the launcher and by whoever shows a session. The memory has no name anywhere: it is gone with its last user.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "handler.h"
#include "ring.h"

enum { SPIN_NS = 50000 };
#define SESSION_SIZE ((sizeof(struct session) + 4095ull) & ~4095ull)
/* What we map, whether its last part is there or not: so nobody need be believed about the size. */
#define SESSION_SPAN (SESSION_SIZE + HANDLERS_SIZE)

static uint64_t began_mono, began_ticks;

uint64_t clock_ns(int clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int futex_sleep(uint32_t *word, uint32_t value, long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	return syscall(SYS_futex, word, FUTEX_WAIT, value, ms < 0 ? NULL : &t, NULL, 0) ? -errno : 0;
}

void futex_call(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

double ticks_rate(uint64_t ticks0, uint64_t mono0)
{
	uint64_t ns, ticks;

	do {
		ns = clock_ns(CLOCK_MONOTONIC) - mono0;
		ticks = arch_ticks() - ticks0;
	} while (ns < 500000 || !ticks);
	return (double)ns / (double)ticks;
}

void session_baseline(void)
{
	began_mono = clock_ns(CLOCK_MONOTONIC);
	began_ticks = arch_ticks();
}

/* Since the session was made: by the time it is asked for, nobody has to wait for a baseline. */
double session_rate(void)
{
	if (!began_mono)
		session_baseline();
	return ticks_rate(began_ticks, began_mono);
}

void session_tune(struct session *s)
{
	cpu_set_t cpus;

	s->spare = 0;
	if (!sched_getaffinity(0, sizeof cpus, &cpus) && CPU_COUNT(&cpus) > 1)
		s->spare = (uint32_t)CPU_COUNT(&cpus) - 1;
	s->budget = (uint64_t)(SPIN_NS / session_rate());
}

static void fill(struct session *s, int is_proxy, const struct log_options *log)
{
	s->magic = SESSION_MAGIC;
	s->version = ABI_VERSION;
	s->flags = (log ? SESSION_LOG : 0) | (log && log->lossy ? SESSION_LOSSY : 0) | (is_proxy ? SESSION_PROXY : 0);
	if (log) {
		s->keep_bytes = log->keep_bytes;
		memcpy(s->keep_read, log->keep_read, sizeof s->keep_read);
		memcpy(s->keep_write, log->keep_write, sizeof s->keep_write);
		/* A flight recorder keeps as many as its calls need. */
		s->full_limit = log->flight ? CHUNK_COUNT : CHUNKS_BEHIND;
		if (!log->flight && s->full_limit > log->chunks / 2)
			s->full_limit = log->chunks / 2;
		s->chunk_count = log->chunks;
	}
	for (int nr = 0; nr < CALL_LIMIT; nr++)
		s->routes[nr] = is_proxy && call_rows[nr].runs != RUNS_PROGRAM ? ROUTE_PROXY : ROUTE_KERNEL;
}

int session_create(int is_proxy, const struct log_options *log, uint32_t preloaded, int has_handlers,
		   uint32_t streams)
{
	uint64_t limit = 0, size = has_handlers ? SESSION_SPAN : SESSION_SIZE;
	struct session *s;
	int e = 0, fd = above_standard(memfd_create("lsca-session", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return -errno;
	file_limit_raise(&limit);
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		e = -errno;
	file_limit_restore(limit);
	s = e ? NULL : mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		e = -errno;
	if (e) {
		close(fd);
		return e;
	}
	fill(s, is_proxy, log);
	if (streams && !is_proxy)
		s->flags |= SESSION_STREAMS | (streams == STREAMS_SURE ? SESSION_STREAMS_SURE : 0);
	s->size = size;
	s->handlers_at = has_handlers ? SESSION_SIZE : 0;
	session_baseline();
	if (preloaded) {
		s->flags |= SESSION_PRELOAD;
		session_enter(s, preloaded, 0, 0);
	}
	munmap(s, sizeof *s);
	return fd;
}

/* The descriptor may come from another process: its size is checked, and sealed or not, only we are harmed. */
struct session *session_map(int fd, int writable)
{
	struct stat st;
	struct session *at;

	if (fstat(fd, &st) || ((uint64_t)st.st_size != SESSION_SIZE && (uint64_t)st.st_size != SESSION_SPAN) ||
	    !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK)) {
		errno = EINVAL;
		return NULL;
	}
	at = mmap(NULL, SESSION_SPAN, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (at->magic != SESSION_MAGIC || at->version != ABI_VERSION) {
		munmap(at, SESSION_SPAN);
		errno = EINVAL;
		return NULL;
	}
	return at;
}

/*
 * Is anybody left who has this session's memory? The kernel knows better than any list of processes: a child that was
 * born a moment ago maps it, too. It grants a seal against writing only to the last one. We stand aside for the
 * question, so nobody may touch the memory meanwhile, and keep a private copy if it is over. 1: the last one, 0: there
 * are others, -1: the kernel does not say.
 */
int session_is_last(struct session *s, int fd)
{
	const int own = PROT_READ | PROT_WRITE, fixed = MAP_FIXED | MAP_NORESERVE;
	int last;

	if (mmap(s, SESSION_SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0) == MAP_FAILED)
		return -1;
	last = !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) ? 1 : errno == EBUSY ? 0 : -1;
	if (last == 1 || mmap(s, SESSION_SPAN, own, MAP_SHARED | fixed, fd, 0) == MAP_FAILED)
		if (mmap(s, SESSION_SPAN, own, MAP_PRIVATE | fixed, fd, 0) == MAP_FAILED)
			_exit(EXIT_OWN_FAILURE);
	return last;
}

/* Of a mapped session; NULL: it was made without. */
struct handlers *session_handlers(struct session *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != SESSION_SPAN)
		return NULL;
	return (struct handlers *)((char *)s + SESSION_SIZE);
}

void session_private(struct session *s)
{
	madvise(s, SESSION_SPAN, MADV_DONTFORK);
}

void session_unmap(struct session *s)
{
	if (s)
		munmap(s, SESSION_SPAN);
}

uint32_t session_enter(struct session *s, uint32_t pid, uint32_t proxy, uint32_t parent)
{
	struct process *p = &s->processes[0];

	p->pid = pid;
	p->proxy = proxy;
	p->parent = parent;
	put_release(&p->state, PROCESS_LIVE);
	add_one(&s->live);
	return 0;
}

/* Entries are taken from the front, and keep the number of their last process. */
int session_unused(const struct process *p)
{
	return get_acquire(&p->state) == PROCESS_FREE && !p->pid;
}

/* Asked of all sessions at every exec of a program that brought its agent along: a few of its bytes, and no mapping. */
int session_has(int fd, uint32_t pid)
{
	struct process some[64];
	off_t at = offsetof(struct session, processes);

	for (uint32_t n = 0; n < PROCESSES; n += 64, at += (off_t)sizeof some) {
		if (pread(fd, some, sizeof some, at) != (ssize_t)sizeof some)
			return 0;
		for (uint32_t i = 0; i < 64; i++) {
			if (session_unused(&some[i]))
				return 0;
			if (some[i].state == PROCESS_LIVE && some[i].pid == pid)
				return 1;
		}
	}
	return 0;
}

int process_alive(uint32_t pid)
{
	char path[40], text[512], *end;
	ssize_t n;
	int fd;

	if (!pid || pid > INT_MAX)
		return 0;
	snprintf(path, sizeof path, "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno != ENOENT && errno != ESRCH;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}
