/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the changes of a run in the order of time and keeps, for every table of descriptors, what each number stood for
 * from when on; see resolve.h. A process has a table, a thread its process's. A forked process has a table of its own
 * that is empty but for what changes later: what is not found in it was its maker's at the moment of the fork. An object
 * is what is behind a descriptor; copies of it share its name, which may change, as a socket's does that is connected.
 * What never was in the log has no name. Called with the log's lock held.
 */
#include "resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "timeline.h"

enum { CLOEXEC_ONLY = 4, TYPE_MASK = 0xf };

/* ---- objects ---------------------------------------------------------------------------------------------------- */

static uint32_t object_new(struct resolver *r, uint64_t at, uint32_t text)
{
	struct object *o = timeline_push(r, &r->objects, &r->object_count, &r->object_room, sizeof *o);

	if (!o)
		return 0;
	if (text)
		line_add(r, &o->names, at, text);
	return (uint32_t)(r->object_count - 1);
}

/* "unix:/run/x" without the family, which the name says already. */
static void say_address(struct resolver *r, uint32_t text)
{
	const struct span *s = &r->texts[text];
	size_t skip = s->len >= 5 && !memcmp(s->at, "unix:", 5) ? 5 : s->len >= 8 && !memcmp(s->at, "netlink:", 8) ? 8 : 0;

	if (text)
		text_add(&r->scratch, s->at + skip, s->len - skip);
}

/* A socket's name as it is from now on. */
static void name_socket(struct resolver *r, uint32_t object, uint64_t at)
{
	struct object *o = &r->objects[object];
	uint32_t type = o->type & TYPE_MASK;
	char words[32];

	if (!o->local && !o->peer && o->link) {
		line_add(r, &o->names, at, o->link);
		return;
	}
	r->scratch.used = 0;
	if (o->domain == AF_UNIX)
		text_say(&r->scratch, "UNIX:");
	else if (o->domain == AF_NETLINK)
		text_say(&r->scratch, "NETLINK:");
	else if ((o->domain == AF_INET || o->domain == AF_INET6) && type == SOCK_STREAM)
		text_say(&r->scratch, "TCP:");
	else if ((o->domain == AF_INET || o->domain == AF_INET6) && type == SOCK_DGRAM)
		text_say(&r->scratch, "UDP:");
	else
		text_say(&r->scratch, "socket:");
	if (!o->local && !o->peer) {
		/* No inode is known; the number after # is the log's own. */
		snprintf(words, sizeof words, "socket:[#%u]", o->serial);
		r->scratch.used = 0;
		text_say(&r->scratch, words);
	} else {
		say_address(r, o->local);
		if (o->peer)
			text_say(&r->scratch, "->");
		say_address(r, o->peer);
	}
	line_add(r, &o->names, at, timeline_text(r, r->scratch.at, r->scratch.used));
}

static uint32_t socket_new(struct resolver *r, uint64_t at, uint32_t domain, uint32_t type)
{
	uint32_t object = object_new(r, at, 0);

	if (!object)
		return 0;
	r->objects[object].is_socket = 1;
	r->objects[object].domain = domain;
	r->objects[object].type = type;
	r->objects[object].serial = ++r->serial;
	return object;
}

/* The number of an address as text; 0 for one that says nothing. */
static uint32_t address_number(struct resolver *r, struct blob address, uint32_t *domain)
{
	uint16_t family;

	if (address.len < sizeof family)
		return 0;
	memcpy(&family, address.bytes, sizeof family);
	*domain = family ? family : *domain;
	if (!family || address.len == sizeof family)
		return 0;
	r->scratch.used = 0;
	words_address(&r->scratch, address.bytes, address.len);
	return timeline_text(r, r->scratch.at, r->scratch.used);
}

static uint32_t path_number(struct resolver *r, const struct change *c)
{
	r->scratch.used = 0;
	resolver_path(r, c->pid, c->from, c->at, c->text, &r->scratch);
	return timeline_text(r, r->scratch.at, r->scratch.used);
}

static uint32_t made_number(struct resolver *r, const struct change *c)
{
	const char *place = c->name ? strstr(c->name, "{}") : NULL;

	if (!c->name)
		return 0;
	r->scratch.used = 0;
	text_add(&r->scratch, c->name, place ? (size_t)(place - c->name) : strlen(c->name));
	if (place) {
		text_add(&r->scratch, c->text.bytes, c->text.len);
		text_say(&r->scratch, place + 2);
	}
	return timeline_text(r, r->scratch.at, r->scratch.used);
}

/* What the agent saw behind a descriptor: of a socket that is known already, its present name; else something new. */
static void told(struct resolver *r, uint32_t table, const struct change *c)
{
	static const char prefix[] = "socket:[";
	int is_socket = c->text.len > sizeof prefix - 1 && !memcmp(c->text.bytes, prefix, sizeof prefix - 1);
	uint32_t link = timeline_text(r, c->text.bytes, c->text.len);
	uint32_t object = timeline_object(r, table, c->fd, c->at), local, peer;

	if (!object || !is_socket || !r->objects[object].is_socket ||
	    (r->objects[object].link && r->objects[object].link != link)) {
		object = is_socket ? socket_new(r, c->at, 0, 0) : object_new(r, c->at, link);
		timeline_set(r, table, c->fd, c->at, object);
	}
	if (!is_socket || !object)
		return;
	local = address_number(r, c->local, &r->objects[object].domain);
	peer = address_number(r, c->peer, &r->objects[object].domain);
	r->objects[object].link = link;
	r->objects[object].local = local ? local : r->objects[object].local;
	r->objects[object].peer = peer ? peer : r->objects[object].peer;
	name_socket(r, object, c->at);
}

static void add_pair(struct resolver *r, uint32_t table, const struct change *c)
{
	char words[32];
	uint32_t object;

	if (c->effect == EFFECT_PIPE) {
		snprintf(words, sizeof words, "pipe:[#%u]", ++r->serial);
		object = object_new(r, c->at, timeline_text(r, (const uint8_t *)words, strlen(words)));
		timeline_set(r, table, c->fd, c->at, object);
		timeline_set(r, table, c->fd2, c->at, object);
		return;
	}
	for (int i = 0; i < 2; i++) {
		object = socket_new(r, c->at, c->flags, c->type);
		if (object)
			name_socket(r, object, c->at);
		timeline_set(r, table, i ? c->fd2 : c->fd, c->at, object);
	}
}

static void add_socket(struct resolver *r, uint32_t table, const struct change *c)
{
	uint32_t domain = c->flags, type = c->type, from = 0, local = 0, object;

	if (c->effect == EFFECT_ACCEPTS) {
		from = timeline_object(r, table, c->from, c->at);
		domain = r->objects[from].domain;
		type = r->objects[from].type;
		local = r->objects[from].local;
	}
	object = socket_new(r, c->at, domain, type);
	if (!object)
		return;
	r->objects[object].local = local;
	r->objects[object].peer = address_number(r, c->peer, &domain);
	r->objects[object].domain = domain;
	name_socket(r, object, c->at);
	timeline_set(r, table, c->fd, c->at, object);
}

static void set_address(struct resolver *r, uint32_t table, const struct change *c)
{
	uint32_t object = timeline_object(r, table, c->fd, c->at), domain, text;

	if (!object || !r->objects[object].is_socket)
		return;
	domain = r->objects[object].domain;
	text = address_number(r, c->text, &domain);
	r->objects[object].domain = domain;
	if (c->effect == EFFECT_LOCAL && text)
		r->objects[object].local = text;
	else if (c->effect == EFFECT_PEER)
		r->objects[object].peer = text; /* AF_UNSPEC: connected no more */
	name_socket(r, object, c->at);
}

/* ---- playing ---------------------------------------------------------------------------------------------------- */

static void play(struct resolver *r, const struct change *c)
{
	const struct epoch *now;
	uint32_t table;

	if (c->effect == CHANGE_START) {
		timeline_start(r, c);
		return;
	}
	now = timeline_now(r, c->pid);
	if (!now)
		return;
	table = c->fd == FD_CWD ? now->fs : now->files;
	switch (c->effect) {
	case CHANGE_EXEC:
		timeline_part(r, c->pid, c->at, CLONE_FILES_ | CLONE_FS_);
		break;
	case CHANGE_FD:
		told(r, table, c);
		break;
	case EFFECT_OPENS:
	case EFFECT_CHDIR:
		timeline_set(r, table, c->fd, c->at, object_new(r, c->at, path_number(r, c)));
		break;
	case EFFECT_MAKES:
		timeline_set(r, table, c->fd, c->at, object_new(r, c->at, made_number(r, c)));
		break;
	case EFFECT_PIPE:
	case EFFECT_SOCKETPAIR:
		add_pair(r, now->files, c);
		break;
	case EFFECT_SOCKET:
	case EFFECT_ACCEPTS:
		add_socket(r, table, c);
		break;
	case EFFECT_DUPLICATES:
		if (c->fd != c->from)
			timeline_set(r, table, c->fd, c->at, timeline_object(r, now->files, c->from, c->at));
		break;
	case EFFECT_CLOSES:
		timeline_set(r, table, c->fd, c->at, 0);
		break;
	case EFFECT_CLOSES_RANGE:
		if (!(c->flags & CLOEXEC_ONLY)) {
			struct table *t = &r->tables[now->files];
			struct closed_range *range = timeline_push32(r, &t->ranges, &t->range_count, &t->range_room, sizeof *range);

			if (range)
				*range = (struct closed_range){c->at, c->fd, c->fd2};
		}
		break;
	case EFFECT_LOCAL:
	case EFFECT_PEER:
		set_address(r, table, c);
		break;
	case EFFECT_FORKS:
		timeline_fork(r, c->pid, (uint32_t)c->fd, c->at, c->flags, 1);
		break;
	case EFFECT_UNSHARES:
		timeline_part(r, c->pid, c->at, c->flags);
		break;
	}
}

static int earlier(const void *left, const void *right)
{
	const struct change *a = *(const struct change *const *)left, *b = *(const struct change *const *)right;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a < b ? -1 : a > b; /* as they were written */
}

struct resolver *resolver_new(struct logfile *l, uint32_t run)
{
	struct resolver *r = calloc(1, sizeof *r);
	const struct change **order = NULL;
	struct changes all = {0};

	if (!r)
		return NULL;
	timeline_push(r, &r->objects, &r->object_count, &r->object_room, sizeof *r->objects);
	timeline_push(r, &r->texts, &r->text_count, &r->text_room, sizeof *r->texts);
	r->failed |= changes_gather(l, run, &all) < 0;
	order = malloc((all.count + 1) * sizeof *order);
	if (order && !r->failed) {
		for (size_t i = 0; i < all.count; i++)
			order[i] = &all.at[i];
		qsort(order, all.count, sizeof *order, earlier);
		for (size_t i = 0; i < all.count && !r->failed; i++)
			play(r, order[i]);
	}
	if (!order || r->failed || r->scratch.failed) {
		resolver_free(r);
		r = NULL;
	}
	free(order);
	free(all.at);
	return r;
}

void resolver_free(struct resolver *r)
{
	if (r)
		timeline_free(r);
}

/* ---- questions -------------------------------------------------------------------------------------------------- */

const uint8_t *resolver_text(const struct resolver *r, uint32_t pid, int32_t fd, uint64_t at, size_t *len)
{
	const struct epoch *e = timeline_epoch(r, pid, at);
	const struct point *p;
	uint32_t object;

	if (!e)
		return NULL;
	object = timeline_object(r, fd == FD_CWD ? e->fs : e->files, fd, at);
	p = object ? line_find(&r->objects[object].names, at) : NULL;
	if (!p || !p->value)
		return NULL;
	*len = r->texts[p->value].len;
	return r->texts[p->value].at;
}

void resolver_path(const struct resolver *r, uint32_t pid, int32_t dir, uint64_t at, struct blob path, struct text *t)
{
	size_t len = 0;
	const uint8_t *base = NULL;

	if (!path.len || path.bytes[0] != '/')
		base = resolver_text(r, pid, dir, at, &len);
	words_path(t, base ? base : (const uint8_t *)"", base ? len : 0, path.bytes, path.len);
}
