/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that only the launcher can write: the program's arguments and what it inherits, before it runs; how it ended.
 * They go where all others go, through a chunk of the area, so that they are there whoever is killed. The launcher is a
 * thread with a serial number like any other's; its process is the program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

enum { ARGV_ROOM = 16384, TEXT_ROOM = 4096, RECORD_ROOM = TEXT_ROOM + 512 };

struct page {
	struct drain *drain;
	uint32_t pid, used;
	uint64_t rows;
	uint64_t words[CHUNK_SIZE / 8];
};

static uint32_t find_chunk(struct session *s)
{
	for (uint32_t i = 0; i < CHUNK_COUNT; i++) {
		raise_to(&s->chunk_high, i + 1);
		if (swap_if(&s->chunks[i].state, CHUNK_FREE, CHUNK_LEASED))
			return i;
	}
	return CHUNK_COUNT;
}

/* As an agent would: nothing is to be seen of it before all of it is there. */
static void page_write(struct page *p)
{
	struct drain *d = p->drain;
	struct session *s = d->session;
	struct chunk_head h = {.pid = p->pid, .tid = p->pid, .thread = d->serial, .first = d->number};
	uint32_t i = p->used ? find_chunk(s) : CHUNK_COUNT, used = 0;
	off_t at = (off_t)AREA_AT(i);

	if (i < CHUNK_COUNT) {
		h.lease = __atomic_add_fetch(&s->leases, 1, __ATOMIC_RELAXED);
		if (pwrite(d->area, &used, sizeof used, at) == (ssize_t)sizeof used &&
		    pwrite(d->area, &h, sizeof h, at) == (ssize_t)sizeof h &&
		    pwrite(d->area, p->words, p->used, at + (off_t)sizeof h) == (ssize_t)p->used &&
		    pwrite(d->area, &p->used, sizeof p->used, at) == (ssize_t)sizeof p->used) {
			put_release(&s->chunks[i].state, CHUNK_FULL);
			add_one(&s->full);
		} else {
			put_release(&s->chunks[i].state, CHUNK_FREE);
			__atomic_add_fetch(&s->lost, p->rows, __ATOMIC_RELAXED);
		}
	} else {
		__atomic_add_fetch(&s->lost, p->rows, __ATOMIC_RELAXED);
	}
	d->number += p->rows;
	p->used = 0;
	p->rows = 0;
}

static struct log_record *record(struct page *p, uint8_t kind, uint8_t args)
{
	struct log_record *r;

	if (p->used + RECORD_ROOM + ARGV_ROOM > CHUNK_ROOM)
		page_write(p);
	r = (struct log_record *)(p->words + p->used / 8);
	*r = (struct log_record){.words = (uint16_t)(sizeof *r / 8 + args), .kind = kind, .counts = args,
				 .start = arch_ticks()};
	return r;
}

static char *place(struct log_record *r)
{
	return (char *)((uint64_t *)r + r->words + 1);
}

static void piece(struct log_record *r, uint8_t arg, size_t len, size_t full)
{
	struct piece *p = (struct piece *)((uint64_t *)r + r->words);

	*p = (struct piece){arg, len < full ? PIECE_CUT : 0, (uint16_t)len, (uint32_t)full};
	r->words = (uint16_t)(r->words + 1 + (len + 7) / 8);
	r->counts = (uint8_t)(r->counts + 16);
}

static void done(struct page *p, const struct log_record *r)
{
	p->used += 8u * r->words;
	p->rows++;
}

static void add_argv(struct page *p, char **argv)
{
	struct log_record *r = record(p, RECORD_PROGRAM, 0);
	size_t len = 0, full = 0;

	for (; *argv; argv++) {
		size_t n = strlen(*argv) + 1, part = n < ARGV_ROOM - len ? n : ARGV_ROOM - len;

		memcpy(place(r) + len, *argv, part);
		len += part;
		full += n;
	}
	piece(r, 0, len, full);
	done(p, r);
}

static void add_address(struct log_record *r, uint8_t arg, int fd, int (*ask)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage a;
	socklen_t n = sizeof a;

	if (ask(fd, (struct sockaddr *)&a, &n) || n < sizeof a.ss_family || n > sizeof a)
		return;
	memcpy(place(r), &a, n);
	piece(r, arg, n, n);
}

static int local_of(int fd, struct sockaddr *a, socklen_t *n)
{
	return getsockname(fd, a, n);
}

static int peer_of(int fd, struct sockaddr *a, socklen_t *n)
{
	return getpeername(fd, a, n);
}

static void add_fd(struct page *p, int fd, const char *path)
{
	struct log_record *r = record(p, RECORD_FD, 1);
	ssize_t n = readlink(path, place(r), TEXT_ROOM);

	r->args[0] = (uint64_t)(int64_t)fd;
	if (n > 0)
		piece(r, 0, (size_t)n, (size_t)n);
	if (fd >= 0) {
		add_address(r, 1, fd, local_of);
		add_address(r, 2, fd, peer_of);
	}
	done(p, r);
}

/* What we have without close-on-exec, the program has. */
static void add_inherited(struct page *p)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	char path[64];

	while (dir && (e = readdir(dir))) {
		int fd = atoi(e->d_name), flags = fcntl(fd, F_GETFD);

		if (e->d_name[0] == '.' || fd == dirfd(dir) || flags < 0 || flags & FD_CLOEXEC)
			continue;
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		add_fd(p, fd, path);
	}
	if (dir)
		closedir(dir);
	add_fd(p, AT_FDCWD, "/proc/self/cwd");
}

static struct page *page_new(struct drain *d, uint32_t pid)
{
	struct page *p = d->runs ? malloc(sizeof *p) : NULL;

	if (!p)
		return NULL;
	p->drain = d;
	p->pid = pid;
	p->used = 0;
	p->rows = 0;
	if (!d->serial)
		d->serial = __atomic_add_fetch(&d->session->threads, 1, __ATOMIC_RELAXED);
	return p;
}

void program_begins(struct drain *d, uint32_t pid, char **argv)
{
	struct page *p = page_new(d, pid);

	if (!p)
		return;
	d->head.program = pid;
	if (pwrite(d->area, &pid, sizeof pid, offsetof(struct area_head, program)) < 0)
		pid = 0; /* nobody will find it by its number, then */
	add_argv(p, argv);
	add_inherited(p);
	page_write(p);
	free(p);
}

void program_ended(struct drain *d, uint32_t pid, int status)
{
	const struct waits *w = &d->session->waits;
	struct page *p = page_new(d, pid);
	struct log_record *r;

	if (!p)
		return;
	r = record(p, RECORD_STATUS, 1);
	r->args[0] = (uint32_t)status;
	done(p, r);
	if (w->spun || w->yielded || w->slept || w->woke) {
		r = record(p, RECORD_WAITS, 4);
		memcpy(r->args, w, sizeof *w);
		done(p, r);
	}
	page_write(p);
	free(p);
}
