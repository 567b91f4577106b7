/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the segments of a log and keeps their index, see logfile.h. Files come from anywhere and may still grow: only
 * what decode.c has checked is believed, and a file that has become larger is mapped anew while the old mapping stays,
 * since others may hold pointers into it.
 */
#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolve.h"

enum { ROOM_TO_GROW = 16 << 20, EM_X86_64_ = 62, EM_AARCH64_ = 183 };

struct logfile {
	int keepers;
	pthread_mutex_t lock;
	struct log_segment **segments;
	size_t count;
	uint64_t (*runs)[2]; /* their ids */
	uint32_t run_count;
	struct resolver **resolvers;
	struct log_drop *drops;
	size_t drop_count, drop_room;
	int drops_sorted;
};

static int more(void **at, size_t count, size_t *room, size_t size)
{
	size_t want = *room ? *room * 2 : 16;
	void *grown;

	if (count < *room)
		return 0;
	grown = realloc(*at, want * size);
	if (!grown)
		return -1;
	*at = grown;
	*room = want;
	return 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* Maps more than there is, so that a file that grows is seldom mapped again. */
static int map(struct log_segment *s, uint64_t size)
{
	uint64_t want = size + size / 2 + ROOM_TO_GROW;
	void *data;

	if (size <= s->mapped) {
		s->size = size;
		return 0;
	}
	if (s->data) {
		void **old = realloc(s->old, (s->olds + 1) * sizeof *old);
		size_t *sizes = old ? realloc(s->old_sizes, (s->olds + 1) * sizeof *sizes) : NULL;

		s->old = old ? old : s->old;
		s->old_sizes = sizes ? sizes : s->old_sizes;
		if (!sizes)
			return -ENOMEM;
	}
	data = mmap(NULL, want, PROT_READ, MAP_SHARED, s->fd, 0);
	if (data == MAP_FAILED)
		data = mmap(NULL, want = size, PROT_READ, MAP_SHARED, s->fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	if (s->data) {
		s->old[s->olds] = (void *)s->data;
		s->old_sizes[s->olds++] = s->mapped;
	}
	s->data = data;
	s->header = data;
	s->mapped = want;
	s->size = size;
	return 0;
}

static void segment_free(struct log_segment *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->blocks[i].blob);
	for (size_t i = 0; i < s->olds; i++)
		munmap(s->old[i], s->old_sizes[i]);
	if (s->data)
		munmap((void *)s->data, s->mapped);
	if (s->fd >= 0)
		close(s->fd);
	free(s->old);
	free(s->old_sizes);
	free(s->blocks);
	free(s->path);
	free(s);
}

const struct call_plan *logfile_plans(const struct log_segment *s)
{
	return s->header->machine == EM_AARCH64_ ? plans_aarch64 : plans_x86_64;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

void logfile_damaged(struct log_segment *s, size_t i, const char *problem)
{
	if (i >= s->count)
		return;
	s->problem = problem;
	s->problem_at = s->blocks[i].at;
	s->has_end = 0;
	for (size_t k = i; k < s->count; k++) {
		s->rows -= s->blocks[k].rows;
		free(s->blocks[k].blob);
	}
	s->count = i;
}

int logfile_block(struct log_segment *s, size_t i, struct segment_block *b)
{
	const char *problem = NULL;
	uint64_t at;

	if (i >= s->count)
		return -1;
	at = s->blocks[i].at;
	/* The head is looked at again each time: a mapped file can change under our hands. */
	if (segment_block_next(s->data, s->size, &at, b, !s->blocks[i].checked, &problem) == 1 &&
	    b->head->rows == s->blocks[i].rows && b->head->blobs == s->blocks[i].blobs) {
		s->blocks[i].checked = 1;
		return 0;
	}
	logfile_damaged(s, i, problem ? problem : "the block has changed");
	return -1;
}

struct blob logfile_blob(struct log_segment *s, uint32_t number)
{
	const struct blob none = {(const uint8_t *)"", 0};
	size_t low = 0, high = s->count;
	struct segment_block b;
	struct log_block *k;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->blocks[middle].blobs_before <= number)
			low = middle + 1;
		else
			high = middle;
	}
	/* Blocks without blobs have the same number before them as the one with it, which is the last but those. */
	if (!low || number - s->blocks[low - 1].blobs_before >= s->blocks[low - 1].blobs)
		return none;
	k = &s->blocks[low - 1];
	if (!k->blob) {
		struct blob *all = malloc(k->blobs * sizeof *all);

		if (!all || logfile_block(s, low - 1, &b)) {
			free(all);
			return none;
		}
		if (block_blobs(&b, all)) {
			free(all);
			logfile_damaged(s, low - 1, "the block's strings are cut off");
			return none;
		}
		k->blob = all;
	}
	return k->blob[number - k->blobs_before];
}

static uint8_t look_at_shapes(const struct segment_block *b)
{
	uint8_t has = 0;

	for (uint32_t i = 0; i < b->head->shapes; i++) {
		has |= b->shapes[i].flags & RECORD_REPLACES ? HAS_REPLACES : 0;
		has |= b->shapes[i].flags & RECORD_NO_RETURN ? HAS_NO_RETURN : 0;
		has |= b->shapes[i].kind != RECORD_CALL ? HAS_EVENTS : 0;
		has |= b->shapes[i].kind == RECORD_START ? HAS_STARTS : 0;
	}
	return has;
}

/* Notes which records are taken out by those of this block that replace them: each the one before it in its thread. */
static int note_drops(struct logfile *l, struct log_segment *s, size_t i)
{
	struct segment_block b;
	uint16_t *codes;
	uint32_t row = 0;
	int e = -1;

	if (logfile_block(s, i, &b))
		return 0;
	codes = malloc(b.head->rows * sizeof *codes);
	if (!codes)
		return -1;
	if (block_codes(&b, codes)) {
		logfile_damaged(s, i, "the block names shapes that it does not have");
		e = 0;
		goto out;
	}
	for (uint32_t r = 0; r < b.head->runs; r++) {
		for (uint32_t k = 0; k < b.runs[r].rows; k++) {
			if (!(b.shapes[codes[row++]].flags & RECORD_REPLACES))
				continue;
			if (more((void **)&l->drops, l->drop_count, &l->drop_room, sizeof *l->drops))
				goto out;
			l->drops[l->drop_count++] =
				(struct log_drop){b.runs[r].thread, b.runs[r].first + k - 1, s->run};
			l->drops_sorted = 0;
		}
	}
	e = 0;
out:
	free(codes);
	return e;
}

static int scan(struct logfile *l, struct log_segment *s)
{
	const char *problem = NULL;
	struct segment_block b;
	int got = 0;

	s->problem = NULL;
	while (!s->has_end && (got = segment_block_next(s->data, s->size, &s->next, &b, 0, &problem)) == 1) {
		const struct segment_end *end = segment_block_end(&b);
		const struct log_block *last = s->count ? &s->blocks[s->count - 1] : NULL;

		if (end) {
			if (segment_check(b.head, b.head + 1) != b.head->check) {
				problem = "the block's check sum is wrong";
				got = -1;
				break;
			}
			s->end = *end;
			s->has_end = 1;
			break;
		}
		if (b.head->blobs_before != (last ? last->blobs_before + last->blobs : 0)) {
			problem = "strings of the blocks before it are missing";
			got = -1;
			break;
		}
		if (more((void **)&s->blocks, s->count, &s->room, sizeof *s->blocks))
			return -ENOMEM;
		s->blocks[s->count] = (struct log_block){
			.at = b.at,
			.ticks = b.head->ticks,
			.rows = b.head->rows,
			.blobs = b.head->blobs,
			.blobs_before = b.head->blobs_before,
			.has = look_at_shapes(&b),
		};
		s->count++;
		s->rows += b.head->rows;
		if (s->blocks[s->count - 1].has & HAS_REPLACES && note_drops(l, s, s->count - 1))
			return -ENOMEM;
		if (s->problem)
			return 0;
	}
	if (got < 0) {
		s->problem = problem;
		s->problem_at = b.at;
		s->next = b.at;
	}
	logfile_settle_rate(s);
	return 0;
}

/* ---- the whole log ---------------------------------------------------------------------------------------------- */

struct logfile *logfile_new(void)
{
	struct logfile *l = calloc(1, sizeof *l);

	if (l) {
		l->keepers = 1;
		pthread_mutex_init(&l->lock, NULL);
	}
	return l;
}

void logfile_keep(struct logfile *l)
{
	__atomic_add_fetch(&l->keepers, 1, __ATOMIC_RELAXED);
}

static void forget_resolvers(struct logfile *l)
{
	for (uint32_t i = 0; i < l->run_count; i++) {
		resolver_free(l->resolvers[i]);
		l->resolvers[i] = NULL;
	}
}

void logfile_drop(struct logfile *l)
{
	if (__atomic_sub_fetch(&l->keepers, 1, __ATOMIC_ACQ_REL))
		return;
	forget_resolvers(l);
	for (size_t i = 0; i < l->count; i++)
		segment_free(l->segments[i]);
	pthread_mutex_destroy(&l->lock);
	free(l->segments);
	free(l->runs);
	free(l->resolvers);
	free(l->drops);
	free(l);
}

void logfile_lock(struct logfile *l)
{
	pthread_mutex_lock(&l->lock);
}

void logfile_unlock(struct logfile *l)
{
	pthread_mutex_unlock(&l->lock);
}

/* The run with this id, which is a new one if none has it. */
static int find_run(struct logfile *l, const uint64_t id[2], uint32_t *run)
{
	void *grown;

	for (*run = 0; *run < l->run_count; ++*run)
		if (!memcmp(l->runs[*run], id, sizeof *l->runs))
			return 0;
	grown = realloc(l->runs, (l->run_count + 1) * sizeof *l->runs);
	if (!grown)
		return -ENOMEM;
	l->runs = grown;
	grown = realloc(l->resolvers, (l->run_count + 1) * sizeof *l->resolvers);
	if (!grown)
		return -ENOMEM;
	l->resolvers = grown;
	memcpy(l->runs[l->run_count], id, sizeof *l->runs);
	l->resolvers[l->run_count++] = NULL;
	return 0;
}

static int place(struct logfile *l, struct log_segment *s)
{
	struct log_segment **grown = realloc(l->segments, (l->count + 1) * sizeof *grown);
	size_t i;

	if (!grown)
		return -ENOMEM;
	l->segments = grown;
	for (i = l->count; i > 0; i--) {
		const struct log_segment *before = grown[i - 1];

		if (before->run < s->run || (before->run == s->run && before->header->number <= s->header->number))
			break;
		grown[i] = grown[i - 1];
	}
	grown[i] = s;
	l->count++;
	return 0;
}

int logfile_add(struct logfile *l, const char *path, int same_run, const char **problem)
{
	struct log_segment *s = calloc(1, sizeof *s);
	uint32_t runs = l->run_count;
	uint64_t id[2];
	struct stat st;
	int e = -ENOMEM;

	*problem = NULL;
	if (!s)
		return e;
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe is not waited for */
	s->path = strdup(path);
	if (!s->path)
		goto out;
	if (s->fd < 0 || fstat(s->fd, &st)) {
		e = -errno;
		goto out;
	}
	e = S_ISDIR(st.st_mode) ? -EISDIR : 0;
	if (!e && (!S_ISREG(st.st_mode) || !st.st_size))
		*problem = S_ISREG(st.st_mode) ? "is not a log of lsca" : "is a pipe or a device, not a file";
	else if (!e)
		e = map(s, (uint64_t)st.st_size);
	if (!e && !*problem)
		*problem = segment_header_problem(s->data, s->size);
	if (!e && !*problem && s->header->machine != EM_X86_64_ && s->header->machine != EM_AARCH64_)
		*problem = "was written on a machine unknown to this lsca";
	for (*id = 0; !e && !*problem && same_run && *id < runs; ++*id)
		if (!memcmp(l->runs[*id], s->header->run, sizeof *l->runs))
			break;
	if (!e && !*problem && same_run && *id == runs)
		*problem = "belongs to another run";
	if (*problem)
		e = 1;
	if (e)
		goto out;
	memcpy(id, s->header->run, sizeof id);
	s->next = sizeof *s->header;
	e = find_run(l, id, &s->run);
	e = e ? e : scan(l, s);
	e = e ? e : place(l, s);
	if (!e) {
		resolver_free(l->resolvers[s->run]);
		l->resolvers[s->run] = NULL;
		return 0;
	}
out:
	segment_free(s);
	return e;
}

int logfile_refresh(struct logfile *l)
{
	int grown = 0;

	for (size_t i = 0; i < l->count; i++) {
		struct log_segment *s = l->segments[i];
		struct stat st;

		if (s->has_end || fstat(s->fd, &st) || (uint64_t)st.st_size <= s->size || map(s, (uint64_t)st.st_size))
			continue;
		if (scan(l, s) == 0)
			grown = 1;
	}
	if (grown)
		forget_resolvers(l);
	return grown;
}

size_t logfile_segments(const struct logfile *l)
{
	return l->count;
}

struct log_segment *logfile_segment(struct logfile *l, size_t i)
{
	return l->segments[i];
}

uint32_t logfile_runs(const struct logfile *l)
{
	return l->run_count;
}

uint64_t logfile_rows(const struct logfile *l)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->count; i++)
		n += l->segments[i]->rows;
	return n;
}

size_t logfile_drops(const struct logfile *l)
{
	return l->drop_count;
}

static int drop_order(const void *left, const void *right)
{
	const struct log_drop *a = left, *b = right;

	if (a->run != b->run)
		return a->run < b->run ? -1 : 1;
	if (a->thread != b->thread)
		return a->thread < b->thread ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

int logfile_is_dropped(struct logfile *l, uint32_t run, uint64_t thread, uint64_t seq)
{
	const struct log_drop key = {thread, seq, run};

	if (!l->drop_count)
		return 0;
	if (!l->drops_sorted) {
		qsort(l->drops, l->drop_count, sizeof *l->drops, drop_order);
		l->drops_sorted = 1;
	}
	return bsearch(&key, l->drops, l->drop_count, sizeof key, drop_order) != NULL;
}

struct resolver *logfile_resolver(struct logfile *l, uint32_t run)
{
	if (!l->resolvers[run])
		l->resolvers[run] = resolver_new(l, run);
	return l->resolvers[run];
}
