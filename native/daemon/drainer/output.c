/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the segments of a log: header, whole blocks, end; the next one when it is time; and goes on with one that
 * somebody was killed over. After a failure nothing but what is whole stays in the file. Called by drain.c, which makes
 * the blocks, and by recover.c.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

enum { RUNS_AT_ONCE = 256 };

static int write_all(int fd, const void *from, size_t n)
{
	const char *at = from;

	while (n) {
		ssize_t r = write(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

static void read_text(const char *path, char *to, size_t size)
{
	FILE *f = fopen(path, "re");

	if (f && fgets(to, (int)size, f))
		to[strcspn(to, "\n")] = 0;
	if (f)
		fclose(f);
}

static void set_clocks(struct segment_header *h)
{
	h->mono0 = clock_ns(CLOCK_MONOTONIC);
	h->ticks0 = arch_ticks();
	h->real0 = clock_ns(CLOCK_REALTIME);
}

void output_header(struct segment_header *h)
{
	memset(h, 0, sizeof *h);
	memcpy(h->magic, SEGMENT_MAGIC, sizeof h->magic);
	h->version = SEGMENT_VERSION;
	h->machine = machine_elf;
	set_clocks(h);
	h->ns_per_tick = session_rate();
	if (getrandom(h->run, sizeof h->run, 0) != (ssize_t)sizeof h->run)
		h->run[0] = h->ticks0 ^ (uint64_t)getpid() << 40;
	read_text("/proc/sys/kernel/random/boot_id", h->boot_id, sizeof h->boot_id);
	gethostname(h->host, sizeof h->host - 1);
}

void output_path(const char *first, uint32_t number, char *to, size_t size)
{
	if (number)
		snprintf(to, size, "%s.%u", first, number);
	else
		snprintf(to, size, "%s", first);
}

int output_open(struct output *o)
{
	char path[sizeof ((struct area_head *)0)->output + 16];
	int fd;

	output_path(o->path, o->header.number, path, sizeof path);
	fd = above_standard(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666));
	if (fd < 0)
		return -errno;
	if (o->fd >= 0)
		close(o->fd);
	o->fd = fd;
	return 0;
}

int output_begin(struct output *o)
{
	o->seekable = lseek(o->fd, 0, SEEK_CUR) >= 0;
	o->began = o->synced = clock_ns(CLOCK_MONOTONIC);
	if (write_all(o->fd, &o->header, sizeof o->header))
		return -errno;
	o->good = sizeof o->header;
	return 0;
}

/* What stands there stays readable. */
void output_give_up(struct output *o)
{
	char text[TEXT_SIZE];
	int n = snprintf(text, sizeof text, "lsca: %s: %s; the log ends here, the program goes on\n", o->path,
			 strerror(errno));

	if (o->errors >= 0 && n > 0)
		write_all(o->errors, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
	if (o->seekable && !ftruncate(o->fd, (off_t)o->good))
		lseek(o->fd, (off_t)o->good, SEEK_SET);
	o->broken = 1;
}

void output_sync(struct output *o)
{
	if (o->seekable)
		fdatasync(o->fd);
	o->synced = clock_ns(CLOCK_MONOTONIC);
}

void output_block(struct output *o, const uint8_t *block, size_t size)
{
	if (o->broken)
		return;
	if (o->ended) { /* nobody would look behind its end */
		o->ended = 0;
		o->good = o->end_at;
		if (ftruncate(o->fd, (off_t)o->good) || lseek(o->fd, (off_t)o->good, SEEK_SET) < 0) {
			output_give_up(o);
			return;
		}
	}
	if (write_all(o->fd, block, size)) {
		output_give_up(o);
		return;
	}
	o->good += size;
	if (o->options.sync == SYNC_INTERVAL && clock_ns(CLOCK_MONOTONIC) - o->synced > 1000000000)
		output_sync(o);
}

static int put_end(struct output *o, const struct segment_end *end)
{
	struct segment_end_block block;

	segment_end_block(&block, end);
	if ((o->broken && !o->seekable) || write_all(o->fd, &block, sizeof block))
		return -1;
	o->good += sizeof block;
	return 0;
}

int output_is_due(const struct output *o)
{
	const struct log_options *p = &o->options;

	return !o->broken && o->seekable && o->path[0] && strlen(o->path) < sizeof ((struct area_head *)0)->output &&
	       o->good > sizeof o->header &&
	       ((p->rotate_size && o->good >= p->rotate_size) ||
		(p->rotate_age && clock_ns(CLOCK_MONOTONIC) - o->began >= p->rotate_age * 1000000000));
}

int output_rotate(struct output *o, const struct segment_end *end)
{
	char path[sizeof ((struct area_head *)0)->output + 16];
	int fd;

	output_path(o->path, o->header.number + 1, path, sizeof path);
	fd = above_standard(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
	if (fd < 0 || put_end(o, end)) {
		output_give_up(o);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (o->options.sync == SYNC_SEGMENT || o->options.sync == SYNC_INTERVAL)
		output_sync(o);
	close(o->fd);
	o->fd = fd;
	o->header.number++;
	o->header.ns_per_tick = ticks_rate(o->header.ticks0, o->header.mono0);
	set_clocks(&o->header);
	if (output_begin(o)) {
		o->good = 0;
		output_give_up(o);
		return -1;
	}
	return 0;
}

/* The mark that says how complete the file is. A full disk may have room for it again. */
void output_end(struct output *o, const struct segment_end *end)
{
	if (!o->ended && put_end(o, end) && !o->broken)
		output_give_up(o);
	if (o->options.sync != SYNC_NEVER && (o->options.sync != SYNC_CLOSE || !o->broken))
		output_sync(o);
	close(o->fd);
	o->fd = -1;
}

/* ---- segments that are there ------------------------------------------------------------------------------------- */

static int visit_runs(int fd, uint64_t at, const struct block_head *h, output_visit *visit, void *context)
{
	struct segment_run runs[RUNS_AT_ONCE];

	for (uint32_t done = 0; done < h->runs;) {
		uint32_t n = h->runs - done < RUNS_AT_ONCE ? h->runs - done : RUNS_AT_ONCE;
		size_t size = n * sizeof *runs;

		if (pread(fd, runs, size, (off_t)(at + sizeof *h + done * sizeof *runs)) != (ssize_t)size)
			return -1;
		for (uint32_t i = 0; i < n; i++)
			visit(context, &runs[i]);
		done += n;
	}
	return 0;
}

static int is_sound(int fd, uint64_t at, const struct block_head *h)
{
	uint8_t *payload = malloc(h->bytes + 1u);
	int sound = payload && pread(fd, payload, h->bytes, (off_t)(at + sizeof *h)) == (ssize_t)h->bytes &&
		    segment_check(h, payload) == h->check;

	free(payload);
	return sound;
}

static int is_whole(const struct block_head *h, uint64_t left)
{
	if (h->magic != BLOCK_MAGIC || h->bytes % 8 || h->bytes > BLOCK_BYTES_MAX || h->bytes > left)
		return 0;
	return h->kind == BLOCK_LAST ? h->bytes == sizeof(struct segment_end) :
				       h->kind == BLOCK_RECORDS && h->runs <= h->bytes / sizeof(struct segment_run);
}

/*
 * The kernel has what a killed writer had written, so only the last block can be in parts; its sum is compared, too.
 * Sets good, blobs, ended, is_last, end_at.
 */
static int scan(struct output *o, output_visit *visit, void *context)
{
	struct block_head h, last = {0};
	struct stat st;
	uint64_t at = sizeof o->header, before = 0, size;

	if (fstat(o->fd, &st))
		return -errno;
	size = (uint64_t)st.st_size;
	for (; at + sizeof h <= size; before = at, at += sizeof h + h.bytes, last = h)
		if (pread(o->fd, &h, sizeof h, (off_t)at) != (ssize_t)sizeof h || !is_whole(&h, size - at - sizeof h))
			break;
	if (before && !is_sound(o->fd, before, &last))
		at = before;
	o->good = at;
	o->blobs = 0;
	o->ended = 0;
	for (uint64_t i = sizeof o->header; i < at; i += sizeof h + h.bytes) {
		if (pread(o->fd, &h, sizeof h, (off_t)i) != (ssize_t)sizeof h || !is_whole(&h, at - i - sizeof h))
			return -EIO;
		if (h.kind == BLOCK_LAST) {
			struct segment_end end = {0};

			if (pread(o->fd, &end, sizeof end, (off_t)(i + sizeof h)) != (ssize_t)sizeof end)
				return -EIO;
			o->ended = 1;
			o->is_last = end.is_last != 0;
			o->end_at = i;
		} else if (visit_runs(o->fd, i, &h, visit, context)) {
			return -EIO;
		} else {
			o->blobs = h.blobs_before + h.blobs;
		}
	}
	return 0;
}

static int resume_one(struct output *o, output_visit *visit, void *context)
{
	struct segment_header h;
	ssize_t n = pread(o->fd, &h, sizeof h, 0);
	int e;

	if (n < 0)
		return -errno;
	/* Killed before it was begun; but somebody else's few bytes stay. */
	if ((size_t)n < sizeof h &&
	    !memcmp(h.magic, SEGMENT_MAGIC, (size_t)n < sizeof h.magic ? (size_t)n : sizeof h.magic)) {
		o->blobs = 0;
		o->ended = 0;
		if (ftruncate(o->fd, 0) || lseek(o->fd, 0, SEEK_SET))
			return -errno;
		return output_begin(o);
	}
	if ((size_t)n < sizeof h || memcmp(h.magic, SEGMENT_MAGIC, sizeof h.magic) || h.version != SEGMENT_VERSION ||
	    memcmp(h.run, o->header.run, sizeof h.run))
		return -EBADMSG;
	o->header = h;
	o->seekable = 1;
	o->began = o->synced = clock_ns(CLOCK_MONOTONIC);
	e = scan(o, visit, context);
	if (!e && (ftruncate(o->fd, (off_t)o->good) || lseek(o->fd, (off_t)o->good, SEEK_SET) < 0))
		e = -errno;
	return e;
}

int output_resume(struct output *o, output_visit *visit, void *context)
{
	int e = resume_one(o, visit, context);

	while (!e && o->ended && !o->is_last && o->path[0]) { /* killed when the next one was to begin */
		o->header.number++;
		set_clocks(&o->header);
		e = output_open(o);
		e = e ? e : resume_one(o, visit, context);
	}
	return e;
}

int output_look(const char *path, const uint64_t run[2], output_visit *visit, void *context)
{
	struct output o = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
	int e = 0;

	if (o.fd < 0)
		return -errno;
	if (pread(o.fd, &o.header, sizeof o.header, 0) != (ssize_t)sizeof o.header ||
	    memcmp(o.header.run, run, sizeof o.header.run))
		e = -EBADMSG;
	e = e ? e : scan(&o, visit, context);
	close(o.fd);
	return e;
}
