/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, finds and removes areas: see area.h. Called for a session with a log, and by whoever looks for orphans. */
#include "area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"

enum { CHUNKS_LEAST = 16 };

const char area_directory[] = "/dev/shm";

static void prefix(char *to, size_t size)
{
	snprintf(to, size, "lsca-%u-", (unsigned)getuid());
}

static int create_named(void)
{
	char name[AREA_NAME], path[AREA_NAME + 16];

	prefix(name, sizeof name);
	snprintf(path, sizeof path, "%s/%sXXXXXX", area_directory, name);
	return mkostemp(path, O_CLOEXEC); /* 0600, and nobody else's */
}

/* As many chunks as a limit on the size of files allows. */
static int prepare(int fd, struct area_head *h)
{
	uint64_t before = 0;
	const uint64_t none = 0;
	uint32_t chunks = CHUNK_COUNT;
	int e = 0;

	file_limit_raise(&before);
	while (ftruncate(fd, (off_t)AREA_AT(chunks)) && !e) {
		e = errno == EFBIG && chunks > CHUNKS_LEAST ? 0 : -errno;
		chunks /= 2;
	}
	h->options.chunks = chunks;
	e = e ? e : area_write(fd, h);
	/* The agents' page, too, must have its memory. */
	if (!e && pwrite(fd, &none, sizeof none, AREA_LOST) != (ssize_t)sizeof none)
		e = -ENOSPC;
	file_limit_restore(before);
	return e;
}

int area_create(const char *output, struct log_options *o, int *named)
{
	struct area_head h = {.magic = AREA_MAGIC, .version = AREA_VERSION, .chunk_size = CHUNK_SIZE,
			      .chunk_count = CHUNK_COUNT, .chunks_at = AREA_HEAD, .options = *o};
	int fd = create_named(), e;

	if (strlen(output) < sizeof h.output)
		strcpy(h.output, output);
	*named = fd >= 0;
	if (fd >= 0) {
		flock(fd, LOCK_EX);
		if (prepare(fd, &h)) {
			area_remove(fd);
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		*named = 0;
		fd = memfd_create("lsca-area", MFD_CLOEXEC);
		if (fd < 0)
			return -errno;
		e = prepare(fd, &h);
		if (e) {
			close(fd);
			return e;
		}
	}
	o->chunks = h.options.chunks;
	return above_standard(fd);
}

const char *area_read(int fd, struct area_head *h)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof *h ||
	    pread(fd, h, sizeof *h, 0) != (ssize_t)sizeof *h)
		return "is too short";
	if (st.st_uid != geteuid())
		return "belongs to somebody else";
	if (memcmp(h->magic, AREA_MAGIC, sizeof h->magic))
		return "is no memory of a log";
	if (h->version != AREA_VERSION || h->chunk_size != CHUNK_SIZE || h->chunk_count != CHUNK_COUNT ||
	    h->chunks_at != AREA_HEAD)
		return "was made by another version of lsca, which can recover it";
	h->output[sizeof h->output - 1] = 0;
	if (h->output[0] && h->output[0] != '/')
		return "names no file for its log";
	return NULL;
}

int area_write(int fd, const struct area_head *h)
{
	ssize_t n = pwrite(fd, h, sizeof *h, 0);

	return n == (ssize_t)sizeof *h ? 0 : n < 0 ? -errno : -ENOSPC;
}

uint64_t area_lost(int fd, uint64_t known)
{
	uint64_t n;

	return pread(fd, &n, sizeof n, AREA_LOST) == (ssize_t)sizeof n && n > known ? n : known;
}

int area_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}

void area_remove(int fd)
{
	char link[40], path[256], ours[AREA_NAME + 16], name[AREA_NAME];
	struct stat here, there;
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n < 0 ? 0 : n] = 0;
	prefix(name, sizeof name);
	snprintf(ours, sizeof ours, "%s/%s", area_directory, name);
	if (!strncmp(path, ours, strlen(ours)) && !fstat(fd, &here) && !lstat(path, &there) &&
	    here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		unlink(path);
}

int area_next(void *dir, char name[AREA_NAME])
{
	char want[AREA_NAME];
	struct dirent *e;

	prefix(want, sizeof want);
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, want, strlen(want)) && strlen(e->d_name) < AREA_NAME) {
			strcpy(name, e->d_name);
			return 1;
		}
	return 0;
}
