/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the poster comes by a program's file: it opens what the program has open, by /proc/PID/fd, and only what the
 * program could write itself, what a pattern names, and what nobody else has a hand in. What an entry says is the
 * program's word: it is copied, then checked. Whoever goes on for a dead poster opens the files again; those of dead
 * programs by their paths, if they still lead there.
 */
#include "poster.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "rules.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { LINE = 512, MANY = 1 << 20, NEVER = O_SYNC | O_DSYNC | O_DIRECT | O_ASYNC | O_PATH };

/* ---- processes --------------------------------------------------------------------------------------------------- */

static struct watched *watched_of(const struct poster *p, pid_t pid)
{
	for (uint32_t i = 0; i < POST_FILES; i++)
		if (pid && p->watched[i].pid == pid)
			return (struct watched *)&p->watched[i];
	return NULL;
}

/* All of its threads are gone. */
static int is_over(int pidfd)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	return poll(&end, 1, 0) == 1;
}

int poster_is_dead(const struct poster *p, pid_t pid)
{
	const struct watched *w = watched_of(p, pid);

	return !w || is_over(w->pidfd);
}

int poster_watch(struct poster *p, pid_t pid)
{
	struct watched *w = watched_of(p, pid);

	if (w && !is_over(w->pidfd))
		return 1;
	for (uint32_t i = 0; !w && i < POST_FILES; i++)
		if (!p->watched[i].pid || is_over(p->watched[i].pidfd))
			w = &p->watched[i];
	if (!w || pid <= 0)
		return 0;
	if (w->pid)
		close(w->pidfd);
	w->pid = 0;
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->pidfd < 0)
		return 0;
	if (is_over(w->pidfd)) {
		close(w->pidfd);
		return 0;
	}
	w->pid = pid;
	return 1;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int is_wanted(const struct post_head *h, const char *path)
{
	uint32_t size = h->patterns;

	for (uint32_t at = 0, n; at < size && size <= POST_TEXT; at += n + 1) {
		for (n = 0; at + n < size && h->text[at + n]; n++)
			;
		if (rules_glob(h->text + at, n, path, strlen(path)))
			return 1;
	}
	return 0;
}

/* The flags with which a program has it open, or -1. */
static int flags_of(pid_t pid, int fd)
{
	char path[64], line[LINE];
	int flags = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, fd);
	f = fopen(path, "re");
	while (f && flags < 0 && fgets(line, sizeof line, f))
		if (sscanf(line, "flags: %o", (unsigned *)&flags) != 1)
			flags = -1;
	if (f)
		fclose(f);
	return flags;
}

static int is_denied(void)
{
	return errno == EACCES || errno == EPERM;
}

/* Without waiting for a file system that does not answer. -1: we may not see it. What else fails may be it. */
static int leads_to(int dir, const char *name, const struct stat *file)
{
	struct statx st;

	if (statx(dir, name, AT_STATX_DONT_SYNC, STATX_INO, &st))
		return is_denied() ? -1 : errno != ENOENT && errno != ESRCH; /* those: closed meanwhile */
	return st.stx_ino == file->st_ino && makedev(st.stx_dev_major, st.stx_dev_minor) == file->st_dev;
}

/*
 * How many of its descriptors lead to the file; -1: we may not see them. `of`: only those that are the same opening as
 * that descriptor.
 */
static int count_open(pid_t pid, const struct stat *file, const struct post_file *of)
{
	char path[40];
	struct dirent *e;
	int n = 0, is_hidden = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return is_denied() ? -1 : errno == ENOENT || errno == ESRCH ? 0 : MANY;
	while ((e = readdir(dir))) {
		long order = -1;
		int leads = 0;

		if (e->d_name[0] == '.')
			continue;
		if (of)
			order = syscall(SYS_kcmp, (pid_t)of->pid, pid, KCMP_FILE, of->fd, atoi(e->d_name));
		if (order < 0)
			leads = leads_to(dirfd(dir), e->d_name, file);
		n += !order || leads > 0;
		is_hidden |= leads < 0;
	}
	closedir(dir);
	return is_hidden && (!n || !of) ? -1 : n;
}

/* When it was started, in clock ticks; 0: it is not there. */
static unsigned long long begun(pid_t pid)
{
	char path[40], line[LINE], *at;
	unsigned long long when = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof line, f) && (at = strrchr(line, ')')))
		for (int i = 0; at && i < 20; i++) {
			at = strchr(at + 1, ' ');
			if (at && i == 19)
				when = strtoull(at, NULL, 10);
		}
	if (f)
		fclose(f);
	return when;
}

/* The process that has started the front, which is our parent. */
static pid_t starter(void)
{
	char path[40], line[LINE], *at = NULL;
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)getppid());
	f = fopen(path, "re");
	if (f && fgets(line, sizeof line, f) && (at = strrchr(line, ')')))
		sscanf(at, ") %*c %d", &pid);
	if (f)
		fclose(f);
	return pid;
}

/*
 * Has no other process this opening? Whoever has it has it from the one that opened it, in the run or before it: one of
 * the run is younger than the front, and who has handed it to the front without having it itself is nobody to look for.
 * So a process that we may not look into counts if it is younger, or has started the front.
 */
static int is_alone(const struct post_file *f, const struct stat *file)
{
	unsigned long long since = begun(getppid());
	pid_t above = starter();
	struct dirent *e;
	int found = !since || !above || begun(1) == 0; /* others may be hidden */
	DIR *dir = found ? NULL : opendir("/proc");

	while (dir && !found && (e = readdir(dir))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		int n = pid <= 0 || pid == (pid_t)f->pid ? 0 : count_open(pid, file, f);

		found = n > 0 || (n < 0 && (pid == above || begun(pid) >= since));
	}
	if (dir)
		closedir(dir);
	return dir && !found;
}

/* By its number alone: file systems do not agree with themselves about the device. */
static int is_mapped(pid_t pid, const struct stat *file)
{
	char path[40], line[LINE];
	unsigned long long ino;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof line, f))
		found = sscanf(line, "%*s %*s %*s %*s %llu", &ino) == 1 && ino == (unsigned long long)file->st_ino;
	if (f)
		fclose(f);
	return found;
}

/* A plain file, to be written; and to be read, if that may be. */
static int open_file(const char *path, int appends, int *can_read)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (appends ? O_APPEND : 0), fd;
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return -1;
	fd = open(path, O_RDWR | flags);
	*can_read = fd >= 0;
	return fd >= 0 ? fd : open(path, O_WRONLY | flags);
}

static int is_same(int fd, uint64_t dev, uint64_t ino)
{
	struct post_about about;

	return post_about(fd, &about) >= 0 && POST_IS_FILE(about.mode) && about.dev == dev && about.ino == ino;
}

static int name_of(int fd, char *to, size_t size)
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, to, size);
	if (n <= 0 || (size_t)n >= size)
		return 0;
	to[n] = 0;
	return 1;
}

static int is_posted_already(const struct poster *p, uint32_t but, uint64_t dev, uint64_t ino)
{
	for (uint32_t i = 0, end = post_end(p->head); i < end; i++) {
		uint32_t state = get_acquire(&p->files[i].state);

		if (i != but && (state == POST_OPEN || state == POST_LEAVING) && p->files[i].ino == ino &&
		    p->files[i].dev == dev)
			return 1;
	}
	return 0;
}

/* Those that are posted or may soon be, for programs that look whether there is one but theirs. */
void poster_count(struct poster *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0, end = post_end(p->head); i < end; i++) {
		uint32_t state = get_acquire(&p->files[i].state);

		n += state == POST_ASKED || state == POST_OPEN || state == POST_LEAVING;
	}
	put_release(&p->head->active, n);
}

/* Checked against the copy `f`: a descriptor, or -1. */
static int open_for(struct poster *p, uint32_t i, const struct post_file *f, int *can_read, char *name, size_t size)
{
	int appends = !!(f->flags & POST_APPENDS), flags = flags_of((pid_t)f->pid, f->fd), fd;
	int only_appends = appends && (flags & O_ACCMODE) == O_WRONLY;
	char path[64];
	struct stat st;

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || flags & NEVER || !!(flags & O_APPEND) != appends)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)f->pid, f->fd);
	fd = open_file(path, appends, can_read);
	if (fd < 0)
		return -1;
	if (is_same(fd, f->dev, f->ino) && !fstat(fd, &st) && name_of(fd, name, size) && is_wanted(p->head, name) &&
	    !is_posted_already(p, i, f->dev, f->ino) && count_open((pid_t)f->pid, &st, NULL) == (int)f->fds &&
	    !is_mapped((pid_t)f->pid, &st) &&
	    (!(f->flags & POST_SHARED) || only_appends || (is_alone(f, &st) && !get_acquire(&p->head->sent))))
		return fd;
	close(fd);
	return -1;
}

static void hold(struct poster *p, uint32_t i, int fd, int can_read)
{
	struct post_file *f = &p->files[i];

	p->held[i] = (struct held){.fd = fd, .can_read = can_read, .serial = f->serial, .pid = (pid_t)f->pid,
				   .seen = f->tail, .synced = f->done};
	put_release(&f->keeper, p->me);
}

void poster_answer(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i], copy = *f;
	struct post_place *place = post_place(p->head, i);
	int can_read, fd = -1;

	if (poster_watch(p, (pid_t)copy.pid))
		fd = open_for(p, i, &copy, &can_read, place->path, sizeof place->path);
	/* The memory is there, and this is a better place to wait for it than the program. */
	if (fd >= 0 && madvise(post_ring(p->head, i), POST_RING, MADV_POPULATE_WRITE) && errno != EINVAL) {
		close(fd);
		fd = -1;
	}
	if (fd < 0) {
		swap_if(&f->state, POST_ASKED, POST_REFUSED);
	} else {
		place->dev = copy.dev;
		place->ino = copy.ino;
		place->serial = copy.serial;
		if (p->held[i].fd >= 0)
			close(p->held[i].fd);
		hold(p, i, fd, can_read);
		poster_count(p); /* whoever compares this with what it posts itself must not find them equal */
		if (!swap_if(&f->state, POST_ASKED, POST_OPEN)) {
			close(fd);
			p->held[i].fd = -1;
		}
	}
	poster_count(p);
	post_call(NR_futex, (uint64_t)&f->state, 1, 1, 0, 0);
}

/* In the place of a poster that is dead. */
void poster_adopt(struct poster *p, uint32_t i)
{
	struct post_file *f = &p->files[i], copy = *f;
	struct post_place *place = post_place(p->head, i);
	char path[sizeof place->path + 1], name[POST_PATH];
	int can_read = 0, fd = -1;

	if (poster_watch(p, (pid_t)copy.pid)) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)copy.pid, copy.fd);
		fd = open_file(path, !!(copy.flags & POST_APPENDS), &can_read);
		if (fd >= 0 && (!is_same(fd, copy.dev, copy.ino) || !name_of(fd, name, sizeof name))) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0 && place->serial == copy.serial && place->dev == copy.dev && place->ino == copy.ino) {
		memcpy(path, place->path, sizeof place->path);
		path[sizeof place->path] = 0;
		if (is_wanted(p->head, path))
			fd = open_file(path, !!(copy.flags & POST_APPENDS), &can_read);
		if (fd >= 0 && !is_same(fd, copy.dev, copy.ino)) {
			close(fd);
			fd = -1;
		}
	}
	hold(p, i, fd, can_read);
	if (fd < 0)
		__atomic_or_fetch(&f->attention, POST_STOP, __ATOMIC_RELEASE);
}
