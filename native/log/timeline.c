/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of resolve.c, see timeline.h. A forked process's table is empty but for what changes later: what is not
 * found in it was its maker's at the moment of the fork. Tables, objects and texts are numbers; number 0 of the last two
 * means that there is none.
 */
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* Room for one more, cleared; NULL and `failed` without memory. */
void *timeline_push(struct resolver *r, void *array, size_t *count, size_t *room, size_t size)
{
	void **at = array;

	if (*count >= *room) {
		size_t want = *room ? *room * 2 : 4;
		void *grown = r->failed ? NULL : realloc(*at, want * size);

		if (!grown) {
			r->failed = 1;
			return NULL;
		}
		*at = grown;
		*room = want;
	}
	return memset((char *)*at + (*count)++ * size, 0, size);
}

void *timeline_push32(struct resolver *r, void *array, uint32_t *count, uint32_t *room, size_t size)
{
	size_t wide_count = *count, wide_room = *room;
	void *one = timeline_push(r, array, &wide_count, &wide_room, size);

	*count = (uint32_t)wide_count;
	*room = (uint32_t)wide_room;
	return one;
}

static size_t map_place(const struct map *m, uint64_t key)
{
	uint64_t mixed = key * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(mixed ^ mixed >> 32) & (m->room - 1);

	while (m->values[at] && m->keys[at] != key)
		at = (at + 1) & (m->room - 1);
	return at;
}

/* The value + 1, or 0. */
static uint32_t map_find(const struct map *m, uint64_t key)
{
	return m->room ? m->values[map_place(m, key)] : 0;
}

static void map_put(struct resolver *r, struct map *m, uint64_t key, uint32_t value)
{
	if (m->used * 2 >= m->room) {
		struct map grown = {.room = m->room ? m->room * 2 : 256, .used = m->used};

		grown.keys = malloc(grown.room * sizeof *grown.keys);
		grown.values = calloc(grown.room, sizeof *grown.values);
		if (!grown.keys || !grown.values) {
			free(grown.keys);
			free(grown.values);
			r->failed = 1;
			return;
		}
		for (size_t i = 0; i < m->room; i++) {
			size_t at = m->values[i] ? map_place(&grown, m->keys[i]) : 0;

			if (!m->values[i])
				continue;
			grown.keys[at] = m->keys[i];
			grown.values[at] = m->values[i];
		}
		free(m->keys);
		free(m->values);
		*m = grown;
	}
	{
		size_t at = map_place(m, key);

		m->used += !m->values[at];
		m->keys[at] = key;
		m->values[at] = value + 1;
	}
}

/* The number of a text, the same for the same bytes. */
uint32_t timeline_text(struct resolver *r, const uint8_t *at, size_t len)
{
	static const uint64_t key[2] = {0x452821e638d01377u, 0xbe5466cf34e90c6cu};
	uint64_t hash[2];
	uint32_t found;
	struct span *s;
	uint8_t *copy;

	if (!len)
		return 0;
	hash_bytes(key, at, len, hash);
	found = map_find(&r->texts_by_hash, hash[0]);
	if (found && r->texts[found - 1].len == len && !memcmp(r->texts[found - 1].at, at, len))
		return found - 1;
	copy = malloc(len);
	s = copy ? timeline_push(r, &r->texts, &r->text_count, &r->text_room, sizeof *s) : NULL;
	if (!s) {
		free(copy);
		r->failed = 1;
		return 0;
	}
	memcpy(copy, at, len);
	*s = (struct span){copy, len, hash[0]};
	map_put(r, &r->texts_by_hash, hash[0], (uint32_t)(r->text_count - 1));
	return (uint32_t)(r->text_count - 1);
}

/* ---- lines of time ---------------------------------------------------------------------------------------------- */

void line_add(struct resolver *r, struct line *l, uint64_t at, uint32_t value)
{
	struct point *last = l->count ? &l->points[l->count - 1] : NULL, *p;

	if (last && last->value == value)
		return;
	if (last && last->at == at) {
		last->value = value;
		return;
	}
	p = timeline_push32(r, &l->points, &l->count, &l->room, sizeof *p);
	if (p)
		*p = (struct point){at, value};
}

/* The last point that is not after `at`, or NULL. */
const struct point *line_find(const struct line *l, uint64_t at)
{
	uint32_t low = 0, high = l->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (l->points[middle].at <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &l->points[low - 1] : NULL;
}

static uint64_t fd_key(uint32_t table, int32_t fd)
{
	return (uint64_t)table << 32 | (uint32_t)fd;
}

void timeline_set(struct resolver *r, uint32_t table, int32_t fd, uint64_t at, uint32_t object)
{
	uint32_t found = map_find(&r->lines_by_fd, fd_key(table, fd));

	if (!found) {
		if (!timeline_push(r, &r->lines, &r->line_count, &r->line_room, sizeof *r->lines))
			return;
		found = (uint32_t)r->line_count;
		map_put(r, &r->lines_by_fd, fd_key(table, fd), found - 1);
	}
	line_add(r, &r->lines[found - 1], at, object);
}

static int was_closed(const struct table *t, int32_t fd, uint64_t after, uint64_t at)
{
	for (uint32_t i = t->range_count; i > 0 && t->ranges[i - 1].at >= after; i--)
		if (t->ranges[i - 1].at <= at && fd >= t->ranges[i - 1].first && fd <= t->ranges[i - 1].last)
			return 1;
	return 0;
}

/* The object, 0: closed, or none that is known of. */
uint32_t timeline_object(const struct resolver *r, uint32_t table, int32_t fd, uint64_t at)
{
	/* A table's parent was there before it: this ends. */
	for (;;) {
		const struct table *t = &r->tables[table];
		uint32_t found = map_find(&r->lines_by_fd, fd_key(table, fd));
		const struct point *p = found ? line_find(&r->lines[found - 1], at) : NULL;

		if (t->range_count && was_closed(t, fd, p ? p->at : 0, at))
			return 0;
		if (p)
			return p->value;
		if (!t->parent)
			return 0;
		at = at < t->since ? at : t->since;
		table = t->parent - 1;
	}
}

/* ---- processes -------------------------------------------------------------------------------------------------- */

static uint32_t table_new(struct resolver *r, uint32_t parent, uint64_t since)
{
	struct table *t = timeline_push(r, &r->tables, &r->table_count, &r->table_room, sizeof *t);

	if (!t)
		return 0;
	t->parent = parent;
	t->since = since;
	return (uint32_t)(r->table_count - 1);
}

const struct epoch *timeline_epoch(const struct resolver *r, uint32_t pid, uint64_t at)
{
	uint32_t found = map_find(&r->holders_by_pid, pid), low = 0, high;
	const struct holder *h;

	if (!found)
		return NULL;
	h = &r->holders[found - 1];
	high = h->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (h->epochs[middle].at <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return h->count ? &h->epochs[low ? low - 1 : 0] : NULL;
}

static struct epoch *epoch_new(struct resolver *r, uint32_t pid, struct epoch e)
{
	uint32_t found = map_find(&r->holders_by_pid, pid);
	struct epoch *added;

	if (!found) {
		if (!timeline_push(r, &r->holders, &r->holder_count, &r->holder_room, sizeof *r->holders))
			return NULL;
		found = (uint32_t)r->holder_count;
		map_put(r, &r->holders_by_pid, pid, found - 1);
	}
	added = timeline_push32(r, &r->holders[found - 1].epochs, &r->holders[found - 1].count, &r->holders[found - 1].room,
		       sizeof *added);
	if (added)
		*added = e;
	return added;
}

/* The process as it is now; one of which nothing is known yet begins with nothing. */
struct epoch *timeline_now(struct resolver *r, uint32_t pid)
{
	uint32_t found = map_find(&r->holders_by_pid, pid);
	struct epoch e = {0};

	if (found && r->holders[found - 1].count)
		return &r->holders[found - 1].epochs[r->holders[found - 1].count - 1];
	e.files = table_new(r, 0, 0);
	e.fs = table_new(r, 0, 0);
	return epoch_new(r, pid, e);
}

void timeline_fork(struct resolver *r, uint32_t parent, uint32_t child, uint64_t at, uint32_t flags, int awaited)
{
	const struct epoch *from = timeline_now(r, parent);
	struct epoch e = {.at = at, .awaited = awaited};

	if (!from || flags & CLONE_THREAD_)
		return;
	e.files = from->files;
	e.fs = from->fs;
	r->tables[e.files].shared |= !!(flags & CLONE_FILES_);
	r->tables[e.fs].shared |= !!(flags & CLONE_FS_);
	if (!(flags & CLONE_FILES_))
		e.files = table_new(r, e.files + 1, at);
	if (!(flags & CLONE_FS_))
		e.fs = table_new(r, e.fs + 1, at);
	epoch_new(r, child, e);
}

/* A process that shared its tables has its own from now on. */
void timeline_part(struct resolver *r, uint32_t pid, uint64_t at, uint32_t flags)
{
	const struct epoch *now = timeline_now(r, pid);
	struct epoch e;

	if (!now)
		return;
	e = *now;
	e.at = at;
	if (flags & CLONE_FILES_ && r->tables[e.files].shared)
		e.files = table_new(r, e.files + 1, at);
	if (flags & CLONE_FS_ && r->tables[e.fs].shared)
		e.fs = table_new(r, e.fs + 1, at);
	if (e.files != now->files || e.fs != now->fs)
		epoch_new(r, pid, e);
}

void timeline_start(struct resolver *r, const struct change *c)
{
	struct epoch *now;

	if (!map_find(&r->holders_by_pid, (uint32_t)c->from) && !map_find(&r->holders_by_pid, c->pid)) {
		timeline_now(r, c->pid); /* the first one */
		return;
	}
	now = map_find(&r->holders_by_pid, c->pid) ? timeline_now(r, c->pid) : NULL;
	if (now && now->awaited)
		now->awaited = 0;
	else
		timeline_fork(r, (uint32_t)c->from, c->pid, c->at, 0, 0);
}

void timeline_free(struct resolver *r)
{
	struct map *maps[] = {&r->lines_by_fd, &r->holders_by_pid, &r->texts_by_hash};

	for (size_t i = 0; i < r->line_count; i++)
		free(r->lines[i].points);
	for (size_t i = 0; i < r->object_count; i++)
		free(r->objects[i].names.points);
	for (size_t i = 0; i < r->table_count; i++)
		free(r->tables[i].ranges);
	for (size_t i = 0; i < r->holder_count; i++)
		free(r->holders[i].epochs);
	for (size_t i = 0; i < r->text_count; i++)
		free((void *)r->texts[i].at);
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		free(maps[i]->keys);
		free(maps[i]->values);
	}
	free(r->lines);
	free(r->objects);
	free(r->tables);
	free(r->holders);
	free(r->texts);
	free(r->scratch.at);
	free(r);
}
