/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What descriptors stand for: asked of the kernel for rules.c, which costs a call of 3 us, and kept. A name that is
 * kept is good as long as no call has begun since that could change it, and none is under way: such calls are counted
 * when they begin and when they are over (a row says which they are), by descriptor where they concern one of this
 * process's, else for the whole session. So what is kept is what the kernel would say now. Where descriptors or
 * directories are shared in ways that this cannot follow, nothing is kept any more: the count of those that are over
 * never catches up. Nor does it when a thread is killed in the middle of a rename.
 *
 * What somebody outside of the session renames is not counted. After a tenth of a second the kernel is asked again.
 */
#include "handle.h"

#include "outside.h"

enum {
	WORDS = 256,  /* of descriptors; those that have one in common only forget more than they must */
	PLACES = 64,
	NAME_ROOM = 224, /* a longer name is not kept */
	KEPT = 2000, /* session.budget, about 100 ms */
	HERE = -100,
	CLOSE_RANGE_UNSHARE_ = 2,
	SET_MODE_FILTER_ = 1,
	NEW_LISTENER_ = 8, /* who has it may put descriptors into the process */
};

/* When a name was asked for: by how many had begun. */
struct moment {
	uint32_t own, all;
};

struct place {
	uint32_t turn; /* odd: it is being written */
	int32_t fd;
	struct moment at;
	uint64_t ticks;
	uint32_t life, len;
	char text[NAME_ROOM];
};

_Static_assert(sizeof(struct place) == 256, "place");

static struct moves words[WORDS] WARM("");
static struct place places[PLACES] COLD(3);
static uint32_t life, is_used; /* +1 in the child of a fork, which keeps nothing of its parent's */

/* ---- what changes them ------------------------------------------------------------------------------------------- */

static uint8_t names_of(const struct call *c)
{
	if (c->nr == NR_close_range && c->args[2] & CLOSE_RANGE_UNSHARE_)
		return NAMES_UNKNOWN;
	if (c->nr == NR_seccomp && ((uint32_t)c->args[0] != SET_MODE_FILTER_ || !(c->args[1] & NEW_LISTENER_)))
		return NAMES_STAY;
	return c->row->names;
}

static struct moves *begin(struct moves *m)
{
	/* It has begun before anything in the kernel changes. */
	__atomic_add_fetch(&m->begun, 1, __ATOMIC_SEQ_CST);
	return m;
}

struct moves *names_begin(const struct call *c)
{
	uint8_t names = handlers ? names_of(c) : (uint8_t)NAMES_STAY;

	if (names == NAMES_STAY)
		return 0;
	if (names >= NAMES_OF_ALL)
		return begin(&handlers->names);
	/* A child that shares our memory without being a thread has descriptors of its own. */
	if (c->thread->process != &process_main)
		return 0;
	return begin(&words[(uint32_t)c->args[names - NAMES_OF_ARG] % WORDS]);
}

void names_end(const struct call *c, struct moves *m, int64_t ret)
{
	if (ret < 0 || names_of(c) != NAMES_UNKNOWN)
		add_one(&m->ended);
}

struct moves *names_begin_all(void)
{
	return handlers ? begin(&handlers->names) : 0;
}

void names_lost(void)
{
	names_begin_all();
}

/* The child of a fork: nobody is at anything there. */
void names_forked(void)
{
	life++;
	for (uint32_t i = 0; i < WORDS; i++)
		if (words[i].ended != words[i].begun)
			words[i].ended = words[i].begun;
	for (uint32_t i = 0; is_used && i < PLACES; i++)
		if (places[i].turn & 1)
			places[i].turn++;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

/*
 * Is nothing under way? Who reads what is over first: since as many had begun later, nobody was at it in between. What
 * has been done is seen by whoever sees that it is over.
 */
static int is_quiet(const struct moves *m, uint32_t *begun)
{
	uint32_t ended = get_acquire(&m->ended);

	*begun = get_acquire(&m->begun);
	return ended == *begun;
}

/* Another thread may be writing it: then what was copied is not looked at. */
static int64_t kept(int32_t fd, const struct moment *at, char *to)
{
	struct place *p = &places[(uint32_t)fd % PLACES];
	uint32_t turn = get_acquire(&p->turn), len = get_relaxed(&p->len);

	if (turn & 1 || p->fd != fd || p->life != life || p->at.own != at->own || p->at.all != at->all ||
	    !len || len > NAME_ROOM || arch_ticks() - p->ticks > KEPT * session->budget)
		return 0;
	memcpy(to, p->text, len);
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* the copy before the turn */
	return get_relaxed(&p->turn) == turn ? len : 0;
}

static void keep(int32_t fd, const struct moment *at, uint64_t ticks, const char *text, uint64_t len)
{
	struct place *p = &places[(uint32_t)fd % PLACES];
	uint32_t turn = get_relaxed(&p->turn);

	if (turn & 1 || !swap_if(&p->turn, turn, turn + 1))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE); /* the turn before what it says of */
	put_relaxed(&is_used, 1);
	p->fd = fd;
	p->at = *at;
	p->ticks = ticks;
	p->life = life;
	put_relaxed(&p->len, (uint32_t)len);
	memcpy(p->text, text, len);
	put_release(&p->turn, turn + 2);
}

/* ---- asking the kernel ------------------------------------------------------------------------------------------- */

/* Under the route `proxy` it is the proxy that has the program's descriptors. */
static int64_t ask(struct call *c, uint64_t nr, uint64_t a, uint64_t b, uint64_t d, uint64_t e)
{
	struct call other = *c;

	if (!c->thread->process->channel)
		return GATE4(nr, a, b, d, e);
	other.nr = nr;
	other.row = &call_rows[nr];
	other.args[0] = a;
	other.args[1] = b;
	other.args[2] = d;
	other.args[3] = e;
	return delegate_anywhere(&other);
}

/* A thread may have descriptors of its own, and the first one may be gone. */
static int64_t link_of(struct call *c, int32_t fd, char *to, uint64_t room)
{
	char name[40], *end = start_append(name, "/proc/thread-self/fd/");

	*start_decimal(end, (uint32_t)fd) = 0;
	return ask(c, NR_readlinkat, (uint64_t)(int64_t)HERE, (uint64_t)name, (uint64_t)to, room);
}

/*
 * Where only calls that we know of change a name. Elsewhere a process that ends, a terminal that hangs up, a server may
 * do it, or somebody who looks for the file. A filter of the program's may forbid to ask.
 */
static int is_steady(struct call *c, int32_t fd, const char *text)
{
	static const uint32_t kinds[] = {
		0xef53, 0x58465342, 0x01021994, 0x858458f6, 0x794c7630, /* ext, xfs, tmpfs, ramfs, overlay */
		0xf2f52010, 0x73717368, 0xe0f5e1e2, 0x9660, /* f2fs, squashfs, erofs, iso9660 */
	};
	uint64_t about[16];

	if (*text != '/') /* a pipe, a socket, ...: it has one name for ever */
		return 1;
	if (sites_are_quiet() || ask(c, NR_fstatfs, (uint32_t)fd, (uint64_t)about, 0, 0) < 0)
		return 0;
	for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if ((uint32_t)about[0] == kinds[i])
			return 1;
	return 0;
}

int64_t names_descriptor(struct call *c, int32_t fd, char *to, uint64_t room)
{
	struct moment at;
	uint64_t ticks;
	int64_t n;

	if (fd < 0)
		return -EINVAL_;
	if (room < NAME_ROOM || c->thread->process != &process_main ||
	    !is_quiet(&words[(uint32_t)fd % WORDS], &at.own) || !is_quiet(&handlers->names, &at.all))
		return link_of(c, fd, to, room);
	n = kept(fd, &at, to);
	if (n > 0)
		return n;
	/* Should anything begin meanwhile, what is kept is of a moment that has passed, and good for nothing. */
	ticks = arch_ticks();
	n = link_of(c, fd, to, room);
	if (n > 0 && n <= NAME_ROOM && is_steady(c, fd, to))
		keep(fd, &at, ticks, to, (uint64_t)n);
	return n;
}
