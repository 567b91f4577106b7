/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of posted writes: /dev/shm/lsca-post-UID-XXXXXX, locked as long as the front, the launcher or the poster
 * of its run is there. Whoever finds one that is not locked may finish it: recover.c. Called by module.c and front.c.
 */
#include "poster.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "launch.h"

int post_create(const char *text, uint32_t size, uint32_t flags, uint32_t after)
{
	struct post_head *h;
	char path[64];
	uint64_t limit = 0;
	int fd, e = 0;

	if (size > POST_TEXT)
		return -E2BIG;
	snprintf(path, sizeof path, "%s/%s-%u-XXXXXX", area_directory, POST_NAME, (unsigned)getuid());
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0) /* then it dies with the run */
		fd = memfd_create(POST_NAME, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	fd = above_standard(fd);
	flock(fd, LOCK_EX);
	file_limit_raise(&limit);
	if (ftruncate(fd, (off_t)POST_SIZE) || posix_fallocate(fd, 0, POST_RINGS_AT))
		e = -ENOSPC;
	file_limit_restore(limit);
	h = e ? NULL : post_open(fd);
	if (!h) {
		post_remove(fd);
		close(fd);
		return e ? e : -ENOMEM;
	}
	h->flags = flags;
	h->after = after;
	h->patterns = size;
	memcpy(h->text, text, size);
	h->version = POST_VERSION;
	put_release(&h->magic, POST_MAGIC);
	post_close(h);
	return fd;
}

/* Its size is checked: the rest may hold anything. */
struct post_head *post_open(int fd)
{
	struct post_head *h;
	struct stat st;

	if (fstat(fd, &st) || st.st_size != (off_t)POST_SIZE)
		return NULL;
	h = mmap(NULL, POST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return h == MAP_FAILED ? NULL : h;
}

void post_close(struct post_head *h)
{
	if (h)
		munmap(h, POST_SIZE);
}

void post_remove(int fd)
{
	char link[40], path[96], ours[64];
	struct stat here, there;
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n < 0 ? 0 : n] = 0;
	snprintf(ours, sizeof ours, "%s/%s-%u-", area_directory, POST_NAME, (unsigned)getuid());
	if (!strncmp(path, ours, strlen(ours)) && !fstat(fd, &here) && !lstat(path, &there) &&
	    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		unlink(path);
}

static const struct post_file *files_of(const struct post_head *h)
{
	return (const struct post_file *)((const char *)h + POST_FILES_AT);
}

void post_totals(const struct post_head *h, uint64_t *writes, uint64_t *bytes, uint64_t *files)
{
	const struct post_file *f = files_of(h);

	*writes = __atomic_load_n(&h->writes, __ATOMIC_RELAXED);
	*bytes = __atomic_load_n(&h->bytes, __ATOMIC_RELAXED);
	*files = __atomic_load_n(&h->files, __ATOMIC_RELAXED);
	for (uint32_t i = 0, end = post_end(h); i < end; i++) {
		uint64_t more = __atomic_load_n(&f[i].writes, __ATOMIC_RELAXED);

		if (get_acquire(&f[i].state) != POST_OPEN || !more)
			continue;
		*writes += more;
		*bytes += __atomic_load_n(&f[i].tail, __ATOMIC_RELAXED);
		*files += 1;
	}
}

uint64_t post_waiting(const struct post_head *h, int dead_only)
{
	const struct post_file *files = files_of(h);
	uint64_t n = 0;

	for (uint32_t i = 0, end = post_end(h); i < end; i++) {
		const struct post_file *f = &files[i];
		uint32_t state = get_acquire(&f->state);

		if ((state == POST_OPEN || state == POST_LEAVING) && !(dead_only && process_alive(f->pid)))
			n += __atomic_load_n(&f->tail, __ATOMIC_ACQUIRE) - __atomic_load_n(&f->done, __ATOMIC_ACQUIRE);
	}
	return n;
}
