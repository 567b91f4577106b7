/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings what is left in an area into its log: after the launcher's death, where nobody else has done it. It may be
 * done again and again: what a segment has already is seen by the numbers of leases and offsets that stand in its
 * blocks, so nothing comes twice. Area and files may hold anything. Called by `lsca log`, the daemon, and the front.
 */
#include "recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"

enum { SEGMENTS_MOST = 1 << 20 };

struct place {
	uint64_t lease;
	uint32_t chunk;
};

static int by_lease(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->lease < y->lease ? -1 : x->lease > y->lease;
}

/* Every chunk that has memory, by lease. */
static uint32_t list_chunks(struct drain *d, struct place *to)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < CHUNK_COUNT; i++) {
		off_t at = lseek(d->area, (off_t)AREA_AT(i), SEEK_DATA);
		struct chunk_head h;

		if (at < 0 && errno == ENXIO)
			break;
		if (at >= (off_t)AREA_AT(i + 1)) {
			i = (uint32_t)((uint64_t)at - AREA_HEAD) / CHUNK_SIZE - 1;
			continue;
		}
		if (pread(d->area, &h, sizeof h, (off_t)AREA_AT(i)) != (ssize_t)sizeof h || !h.lease)
			continue;
		to[n++] = (struct place){h.lease, i};
	}
	qsort(to, n, sizeof *to, by_lease);
	return n;
}

static struct place *find(struct place *in, uint32_t n, uint64_t lease)
{
	struct place key = {.lease = lease};

	return bsearch(&key, in, n, sizeof *in, by_lease);
}

struct found {
	struct drain *d;
	struct place *places;
	uint32_t count;
};

static void on_run(void *context, const struct segment_run *r)
{
	struct found *f = context;
	struct place *p = find(f->places, f->count, r->lease);
	uint64_t end = (uint64_t)r->offset + r->bytes;
	struct drained *c = p ? &f->d->chunks[p->chunk] : NULL;

	if (!c || end > CHUNK_ROOM || c->lease != r->lease)
		return;
	if (c->taken < end)
		c->taken = (uint32_t)end;
	c->rows += r->rows;
}

/* How many records lie before `taken`, where the file did not tell. */
static void count_before(struct drain *d, uint32_t chunk)
{
	struct drained *c = &d->chunks[chunk];
	uint32_t rows = 0, words;

	if (pread(d->area, d->copy, CHUNK_SIZE, (off_t)AREA_AT(chunk)) != CHUNK_SIZE)
		return;
	for (uint32_t at = 0; at < c->taken && at < CHUNK_ROOM; at += 8 * words, rows++) {
		words = ((const struct log_record *)(d->copy + sizeof(struct chunk_head) + at))->words;
		if (!words)
			break;
	}
	c->rows = rows;
}

/* Earlier segments may be gone, or elsewhere; the chunks' heads say the same for all but the last block. */
static int visit_all(struct drain *d, struct found *f)
{
	char path[sizeof d->head.output + 16];
	uint32_t last = d->out.header.number;
	int e;

	for (uint32_t n = 0; n < last && n < SEGMENTS_MOST && d->out.path[0]; n++) {
		output_path(d->out.path, n, path, sizeof path);
		output_look(path, d->out.header.run, on_run, f);
	}
	e = output_resume(&d->out, on_run, f);
	if (!e)
		segment_writer_restart(d->writer, d->out.blobs);
	return e;
}

int drain_find(struct drain *d)
{
	struct place *places = calloc(CHUNK_COUNT, sizeof *places);
	struct found f = {d, places, 0};
	struct chunk_head h;
	int e;

	if (!places)
		return -ENOMEM;
	f.count = list_chunks(d, places);
	for (uint32_t n = 0; n < f.count; n++)
		d->chunks[places[n].chunk] = (struct drained){.lease = places[n].lease};
	e = visit_all(d, &f);
	for (uint32_t n = 0; n < f.count; n++) {
		struct drained *c = &d->chunks[places[n].chunk];

		if (pread(d->area, &h, sizeof h, (off_t)AREA_AT(places[n].chunk)) == (ssize_t)sizeof h &&
		    h.lease == c->lease && h.drained > c->taken && h.drained <= CHUNK_ROOM)
			c->taken = h.drained;
		if (c->taken)
			count_before(d, places[n].chunk);
	}
	free(places);
	return e;
}

void drain_all(struct drain *d)
{
	struct place *places = calloc(CHUNK_COUNT, sizeof *places);
	uint32_t n = places ? list_chunks(d, places) : 0;

	for (uint32_t i = 0; i < n && segment_writer_rows(d->writer) < BLOCK_ROWS; i++) {
		struct drained *c = &d->chunks[places[i].chunk];
		struct chunk_head h;

		if (pread(d->area, &h, sizeof h, (off_t)AREA_AT(places[i].chunk)) != (ssize_t)sizeof h)
			continue;
		if (h.lease != c->lease)
			*c = (struct drained){.lease = h.lease, .is_pending = c->is_pending};
		if (h.drained > c->taken) /* what a flight recorder has let go of is marked so, too */
			c->taken = h.drained < CHUNK_ROOM ? h.drained : CHUNK_ROOM;
		drain_take(d, places[i].chunk);
		drain_take_begun(d, places[i].chunk);
	}
	free(places);
}

/* ---- orphans ----------------------------------------------------------------------------------------------------- */

/* Is there a line about that file in the list of what a process maps? */
static int maps(const char *pid, const char *name)
{
	char path[40], line[512];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/maps", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof line, f))
		found = strstr(line, name) != NULL;
	if (f)
		fclose(f);
	return found;
}

/* A process that can still write, or 0. Numbers in the chunks may be those of others by now, so all are asked. */
static int writer_of(const char *name)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	int pid = 0;

	while (dir && !pid && (e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && maps(e->d_name, name))
			pid = atoi(e->d_name);
	if (dir)
		closedir(dir);
	return pid;
}

static int open_area(const char *name, int flags)
{
	char path[AREA_NAME + 16];

	if (strchr(name, '/') || strlen(name) >= AREA_NAME) {
		errno = EINVAL;
		return -1;
	}
	snprintf(path, sizeof path, "%s/%s", area_directory, name);
	return open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static void say(struct recovered *r, enum recover_state state, const char *what, int error)
{
	r->state = state;
	snprintf(r->text, sizeof r->text, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "");
}

static void bring(struct drain *d, const char *name, struct recovered *r)
{
	struct segment_end end;
	int alive, e;

	d->undrained = d->head.undrained;
	d->head.lost = area_lost(d->area, d->head.lost);
	e = drain_find(d);
	if (e == -EBADMSG) {
		say(r, RECOVER_FAILED, "that file is of another run; name the file that the log was moved to", 0);
		return;
	}
	if (e) {
		say(r, RECOVER_FAILED, "it cannot be read and written", -e);
		return;
	}
	alive = writer_of(name); /* before the last look at what they have written */
	drain_all(d);
	drain_flush(d);
	r->rows = d->brought;
	if (segment_writer_rows(d->writer)) {
		say(r, RECOVER_FAILED, "no memory", 0);
		return;
	}
	if (d->out.broken) {
		say(r, RECOVER_FAILED, "it cannot be written", errno);
		return;
	}
	if (alive) {
		say(r, RECOVER_ALIVE, "", 0);
		snprintf(r->text, sizeof r->text, "process %d still writes; when it has ended, the rest can be had",
			 alive);
		return;
	}
	end = drain_end(d, 1);
	output_end(&d->out, &end);
	area_remove(d->area);
	say(r, RECOVER_DONE, "", 0);
}

void recover_area(const char *name, const char *output, struct recovered *r)
{
	struct drain *d = calloc(1, sizeof *d);
	struct stat st;
	const char *wrong;
	int area = open_area(name, O_RDWR), fd = -1;

	memset(r, 0, sizeof *r);
	if (!d || area < 0) {
		say(r, RECOVER_FAILED, "it cannot be opened", d ? errno : ENOMEM);
		goto out;
	}
	if (area_lock(area)) {
		say(r, RECOVER_OWNED, "", 0);
		goto out;
	}
	wrong = area_read(area, &d->head);
	memcpy(r->output, d->head.output, sizeof r->output);
	if (wrong) {
		/* Its maker was killed over it, or is about to go on: then it is young. */
		if (!fstat(area, &st) && st.st_size < (off_t)sizeof d->head && st.st_mtime + 60 < time(NULL))
			area_remove(area);
		say(r, RECOVER_FAILED, wrong, 0);
		goto out;
	}
	if (drain_open(d, NULL, area, -1, output ? output : "", -1)) {
		say(r, RECOVER_FAILED, "no memory", 0);
		goto out;
	}
	if (output)
		d->out.path = output;
	if (!d->out.path[0]) {
		area_remove(area);
		say(r, RECOVER_DONE, "it went to no file: its last records are gone", 0);
		goto out;
	}
	/* The segment that was being written; a new one where there is none, as long as its directory is there. */
	d->out.header = d->head.header;
	fd = output_open(&d->out) ? -1 : d->out.fd;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		area_remove(area);
		say(r, RECOVER_DONE, "its directory is gone, and with it the log", 0);
	} else if (fd < 0) {
		say(r, RECOVER_FAILED, "it cannot be opened", errno);
	} else if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		say(r, RECOVER_FAILED, "it is not a file", 0);
	} else if (output && st.st_size < (off_t)sizeof(struct segment_header)) {
		say(r, RECOVER_FAILED, "that file is not its log", 0); /* nobody knows whose it is */
	} else {
		bring(d, name, r);
		fd = d->out.fd;
	}
out:
	if (fd >= 0)
		close(fd);
	if (area >= 0)
		close(area);
	if (d)
		segment_writer_free(d->writer);
	free(d);
}

int recover_open(const char *name)
{
	int fd = open_area(name, O_RDONLY);

	return fd < 0 ? -errno : fd;
}

int recover_dump(const char *name, int fd, uint64_t *rows)
{
	struct drain *d = calloc(1, sizeof *d);
	struct segment_end end;
	int area = open_area(name, O_RDONLY), e = !d ? -ENOMEM : area < 0 ? -errno : 0;

	if (!e)
		e = drain_open(d, NULL, area, fd, "", -1);
	if (e)
		goto out;
	d->out.options = (struct log_options){0};
	d->out.header = d->head.header;
	d->out.header.number = 0;
	d->out.header.run[1] ^= ~0ull; /* a log of its own */
	e = d->out.header.version ? output_begin(&d->out) : -EAGAIN;
	if (e)
		goto out;
	drain_all(d);
	drain_flush(d);
	*rows = d->brought;
	end = drain_end(d, 1);
	if (d->out.broken)
		e = -errno;
	output_end(&d->out, &end);
out:
	if (area >= 0)
		close(area);
	if (d)
		segment_writer_free(d->writer);
	free(d);
	return e;
}
