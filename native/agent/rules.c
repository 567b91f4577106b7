/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the session's rules (shared/rules.h) concern a call: called by handle.c before the call is completed. Rules
 * are looked at in their order; one that only delays or changes something lets the next one have its say, the first
 * that decides ends the search. What a condition needs and the call does not bring (the working directory, what a
 * descriptor stands for) is asked of the kernel, and only if a rule wants to know.
 */
#include "handle.h"

#include "outside.h"

enum { DIRECTORY_ROOM = 4096, HERE = -100 };

static struct {
	uint64_t calls, bytes;
} own_counts[RULE_COUNTERS] COLD(6); /* of rules that count in each process */

static char exe[DIRECTORY_ROOM] COLD(6);
static uint32_t exe_len, exe_of; /* whose it is */

/* One argument's path: what the program wrote lies behind the room for the directory it is relative to. */
struct subject {
	int arg; /* -1: none yet */
	int64_t raw; /* its length, or negative: there is none */
	char *path;  /* the absolute one; NULL: not yet */
	uint64_t len;
	char text[DIRECTORY_ROOM + PACK_STRING];
};

void rules_forked(void)
{
	memset(own_counts, 0, sizeof own_counts);
}

static struct rule_text within(struct rule_text t)
{
	if (t.at > RULES_ROOM || t.len > RULES_ROOM - t.at)
		t.at = t.len = 0;
	return t;
}

static int matches(const struct rules *r, struct rule_text pattern, const char *text, uint64_t len)
{
	struct rule_text p = within(pattern);

	return rules_glob(rules_text(r, p), p.len, text, len);
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

static int64_t directory_path(struct call *c, int32_t fd, char *to)
{
	int64_t r;

	if (fd != HERE)
		return names_descriptor(c, fd, to, DIRECTORY_ROOM - 1);
	r = GATE2(NR_getcwd, to, DIRECTORY_ROOM - 1);
	return r > 0 ? r - 1 : r;
}

static void subject_read(struct call *c, struct subject *s, int arg)
{
	if (s->arg == arg)
		return;
	s->arg = arg;
	s->path = 0;
	s->raw = memory_string(s->text + DIRECTORY_ROOM, c->args[arg], PACK_STRING);
}

/* The whole path of the argument; 0 if it cannot be had. */
static int subject_complete(struct call *c, struct subject *s)
{
	const struct call_arg *before = &c->row->args[s->arg - 1];
	char *raw = s->text + DIRECTORY_ROOM;
	int32_t fd = HERE;
	int64_t n;

	if (s->path)
		return 1;
	if (s->raw < 0)
		return 0;
	s->path = raw;
	s->len = (uint64_t)s->raw;
	if (*raw != '/') {
		if (s->arg > 0 && before->kind == ARG_FD && before->flags & ARG_DIR)
			fd = (int32_t)c->args[s->arg - 1];
		n = directory_path(c, fd, s->text);
		if (n <= 0 || n >= DIRECTORY_ROOM - 1)
			return s->path = 0, 0;
		s->path = raw - n - 1;
		for (int64_t i = 0; i < n; i++) /* upwards: the two may overlap */
			raw[-2 - i] = s->text[n - 1 - i];
		raw[-1] = '/';
		s->len += (uint64_t)n + 1;
	}
	s->len = rules_normalise(s->path, s->len);
	return 1;
}

static int is_path(const struct call_arg *arg)
{
	return arg->kind == ARG_STRING && arg->flags & ARG_PATH;
}

/* The last component as it stands is the last one of the path. */
static int ends_plainly(const char *raw, int64_t n)
{
	return n && raw[n - 1] != '/' && raw[n - 1] != '.';
}

static int path_matches(struct call *c, struct subject *s, const struct rules *r, const struct rule *one)
{
	struct rule_text p = within(one->path);
	char *raw = s->text + DIRECTORY_ROOM;
	int has_path = 0, fd = -1;

	for (int i = 0; i < c->row->nargs; i++) {
		if (c->row->args[i].kind == ARG_FD && fd < 0)
			fd = i;
		if (!is_path(&c->row->args[i]))
			continue;
		has_path = 1;
		subject_read(c, s, i);
		if (s->raw < 0)
			continue;
		if (!s->path && ends_plainly(raw, s->raw) &&
		    !rules_glob_ends(rules_text(r, p), p.len, raw, (uint64_t)s->raw))
			continue;
		if (subject_complete(c, s) && rules_glob(rules_text(r, p), p.len, s->path, s->len))
			return 1;
	}
	if (has_path || fd < 0)
		return 0;
	if (s->arg != CALL_ARGS + fd) {
		int64_t n = names_descriptor(c, (int32_t)c->args[fd], s->text, sizeof s->text);

		s->arg = CALL_ARGS + fd;
		s->path = n > 0 ? s->text : 0;
		s->len = n > 0 ? (uint64_t)n : 0;
	}
	return s->path && rules_glob(rules_text(r, p), p.len, s->path, s->len);
}

static int same(const struct rules *r, struct rule_text a, struct rule_text b)
{
	return a.len == b.len && !memcmp(rules_text(r, a), rules_text(r, b), a.len);
}

/* Does a path lead to `from`, or below it? */
static int leads_to(const char *path, uint64_t len, const char *from, uint64_t n)
{
	return n && len >= n && !memcmp(path, from, n) && (len == n || path[n] == '/' || from[n - 1] == '/');
}

/* memcpy for what may overlap. */
static void shift(char *to, const char *from, uint64_t n)
{
	if (to < from)
		for (uint64_t i = 0; i < n; i++)
			to[i] = from[i];
	else
		while (n--)
			to[n] = from[n];
}

/*
 * Put another beginning before what a path has after `from`; the same one says that the path stays. A path that an
 * earlier rule has moved is moved on from there. An empty path names no file, and a slash at the end wants a directory:
 * both stay what they are.
 */
static void rewrite_paths(struct call *c, struct subject *s, const struct rules *r, const struct rule *one,
			  struct ruling *to)
{
	struct rule_text from = within(one->from), with = within(one->to);
	uint64_t head = with.len == 1 ? 0 : with.len; /* "/" and what follows it */

	for (int i = 0, n = -1; i < c->row->nargs && n < 1; i++) {
		const char *path;
		uint64_t len;
		char *moved;

		if (!is_path(&c->row->args[i]))
			continue;
		moved = to->path[++n];
		if (to->kept & 1u << n)
			continue;
		path = moved;
		len = to->path_len[n];
		if (!len) {
			subject_read(c, s, i);
			if (s->raw <= 0 || !subject_complete(c, s))
				continue;
			path = s->path;
			len = s->len;
		}
		if (!leads_to(path, len, rules_text(r, from), from.len))
			continue;
		if (same(r, from, with)) {
			to->kept |= 1u << n;
			continue;
		}
		len -= from.len;
		if (head + len >= PACK_STRING - 1) {
			to->too_long = 1;
			continue;
		}
		shift(moved + head, path + from.len, len);
		memcpy(moved, rules_text(r, with), head ? head : !len);
		if (path != moved && s->text[DIRECTORY_ROOM + s->raw - 1] == '/')
			moved[head + len++] = '/';
		to->path_arg[n] = i;
		to->path_len[n] = head + len ? head + len : 1;
		moved[to->path_len[n]] = 0;
	}
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* The address that a call is given, and where its own is written in the call: which argument, or a message's name. */
static uint64_t address_of(struct call *c, uint8_t *to, int *arg)
{
	uint64_t head[7], at = 0, len = 0;

	for (int i = 0; i < c->row->nargs && !at; i++) {
		const struct call_arg *a = &c->row->args[i];

		if (a->kind == ARG_IN && a->flags & ARG_ADDRESS) {
			at = c->args[i];
			len = (uint32_t)c->args[a->len_arg];
			*arg = i;
		} else if (a->kind == ARG_MSG_IN && c->args[i] &&
			   memory_read(head, c->args[i], sizeof head) == sizeof head) {
			at = head[0];
			len = (uint32_t)head[1];
			*arg = i;
		}
	}
	if (!at || len > ADDRESS_ROOM || memory_read(to, at, len) < len)
		return 0;
	return len;
}

static void rewrite_address(struct call *c, const struct rules *r, const struct rule *one, struct ruling *to)
{
	struct rule_address with = one->instead;
	struct rule_text path = within(with.path);
	uint8_t old[ADDRESS_ROOM], *now = to->address;
	int arg = -1;

	if (to->address_len || address_of(c, old, &arg) < 8)
		return;
	memset(now, 0, ADDRESS_ROOM);
	now[0] = (uint8_t)with.family;
	if (with.family == 1) {
		if (path.len > 107)
			return;
		memcpy(now + 2, rules_text(r, path), path.len);
		if (path.len && now[2] == '@')
			now[2] = 0;
		to->address_len = 2 + path.len + (now[2] != 0);
	} else {
		now[2] = with.port_low ? (uint8_t)(with.port_low >> 8) : old[2];
		now[3] = with.port_low ? (uint8_t)with.port_low : old[3];
		memcpy(now + (with.family == 2 ? 4 : 8), with.ip, with.family == 2 ? 4 : 16);
		to->address_len = with.family == 2 ? 16 : 28;
	}
	to->address_arg = arg;
}

/* ---- one rule ---------------------------------------------------------------------------------------------------- */

static int exe_matches(struct call *c, const struct rules *r, struct rule_text pattern)
{
	if (exe_of != c->thread->process->pid) {
		int64_t n = GATE4(NR_readlinkat, HERE, "/proc/self/exe", exe, sizeof exe);

		exe_len = n > 0 ? (uint32_t)n : 0;
		exe_of = c->thread->process->pid;
	}
	return matches(r, pattern, exe, exe_len);
}

static int fd_matches(const struct call *c, const struct rules *r, struct rule_text ranges)
{
	const int32_t(*range)[2];

	if (ranges.at > RULES_ROOM || ranges.len > (RULES_ROOM - ranges.at) / 8)
		return 0;
	range = (const int32_t(*)[2])rules_text(r, ranges);
	for (int i = 0; i < c->row->nargs; i++)
		for (uint32_t k = 0; c->row->args[i].kind == ARG_FD && k < ranges.len; k++)
			if ((int32_t)c->args[i] >= range[k][0] && (int32_t)c->args[i] <= range[k][1])
				return 1;
	return 0;
}

static int address_matches(struct call *c, const struct rules *r, const struct rule *one)
{
	struct rule_address want = one->address;
	uint8_t address[ADDRESS_ROOM];
	uint64_t len;
	int arg;

	want.path = within(want.path);
	if (want.prefix > 8 * sizeof want.ip)
		return 0;
	len = address_of(c, address, &arg);
	return len && rules_address(r, &want, address, len);
}

/* This call's number among those that meet the other conditions; from it follows whether it is one that is meant. */
static int is_turn(struct call *c, const struct rule *one)
{
	uint64_t *count = one->conditions & RULE_PER_PROCESS ? &own_counts[one->counter % RULE_COUNTERS].calls :
							       &handlers->counts[one->counter % RULE_COUNTERS].calls;
	int by_thread = one->conditions & RULE_PER_THREAD && one->conditions & RULE_IF_WHEN;
	uint64_t n = by_thread ? tally_next(c, one->counter % RULE_COUNTERS) :
				 __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);

	if (one->conditions & RULE_IF_WHEN) {
		if (!n || n < one->first || (one->last && n > one->last))
			return 0;
		if (one->step > 1 && (n - one->first) % one->step)
			return 0;
	}
	if (one->conditions & RULE_IF_CHANCE && by_thread) /* threads are not to fare alike */
		n = __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
	return !(one->conditions & RULE_IF_CHANCE) || rules_chance(one->seed, n) < one->chance;
}

static uint64_t *bytes_of(uint32_t counter, int own)
{
	return own ? &own_counts[counter % RULE_COUNTERS].bytes : &handlers->counts[counter % RULE_COUNTERS].bytes;
}

/* It takes effect once enough has been moved; before, what is left is all that this call may move. */
static int is_after(const struct rule *one, struct ruling *to)
{
	int own = !!(one->conditions & RULE_PER_PROCESS);
	uint64_t moved = __atomic_load_n(bytes_of(one->counter, own), __ATOMIC_RELAXED);

	if (moved >= one->after)
		return 1;
	if (to->tallies < RULING_TALLIES)
		to->tally[to->tallies++] = (one->counter % RULE_COUNTERS) << 1 | (uint32_t)own;
	if (!to->has_cut || to->cut > one->after - moved)
		to->cut = one->after - moved;
	to->has_cut = 1;
	return 0;
}

void rules_tally(const struct ruling *r, int64_t ret)
{
	for (uint32_t i = 0; ret > 0 && i < r->tallies; i++)
		__atomic_add_fetch(bytes_of(r->tally[i] >> 1, r->tally[i] & 1), (uint64_t)ret, __ATOMIC_RELAXED);
}

static int meets(struct call *c, struct subject *s, const struct rules *r, const struct rule *one, struct ruling *to)
{
	uint32_t wants = one->conditions;

	if (wants & RULE_IF_PID && one->pid != c->thread->process->pid)
		return 0;
	for (uint32_t i = 0; i < one->tests && i < RULE_TESTS; i++)
		if (!rules_test(&one->test[i], c->args[one->test[i].arg % CALL_ARGS]))
			return 0;
	if (wants & RULE_IF_FD && !fd_matches(c, r, one->fds))
		return 0;
	if (wants & RULE_IF_EXE && !exe_matches(c, r, one->exe))
		return 0;
	if (wants & RULE_IF_ADDRESS && !address_matches(c, r, one))
		return 0;
	if (wants & RULE_IF_PATH && !path_matches(c, s, r, one))
		return 0;
	if (wants & (RULE_IF_WHEN | RULE_IF_CHANCE) && !is_turn(c, one))
		return 0;
	return !(wants & RULE_IF_AFTER) || is_after(one, to);
}

static void take(struct call *c, struct subject *s, const struct rules *r, const struct rule *one, struct ruling *to)
{
	to->any = 1;
	to->signal = one->signal ? one->signal : to->signal;
	to->before += one->before;
	to->behind += one->behind;
	if (one->has_cut && (!to->has_cut || one->cut < to->cut)) {
		to->cut = one->cut;
		to->has_cut = 1;
	}
	if (one->from.len)
		rewrite_paths(c, s, r, one, to);
	if (one->instead.family)
		rewrite_address(c, r, one, to);
	to->verdict = one->verdict;
	to->value = one->value;
	to->id = one->id;
}

static void evaluate(struct call *c, const struct rules *r, struct ruling *to)
{
	struct rule_text list = r->calls[c->nr];
	const uint16_t *number = (const uint16_t *)rules_text(r, list);
	struct subject s;

	s.arg = -1;
	if (list.at > RULES_ROOM || list.len > (RULES_ROOM - list.at) / 2)
		return;
	to->deny = !!(r->flags & RULES_DENY);
	for (uint32_t i = 0; i < list.len && to->verdict == VERDICT_NONE; i++) {
		const struct rule *one = &r->rule[number[i] % RULE_LIMIT];

		if (!meets(c, &s, r, one, to))
			continue;
		if (one->verdict == VERDICT_PASS)
			break;
		take(c, &s, r, one, to);
	}
	to->any |= to->tallies;
}

__attribute__((noinline)) void rules_find(struct call *c, struct ruling *r)
{
	uint32_t epoch;

	do { /* whoever replaces the rules may have done so twice meanwhile, and over what we read */
		epoch = get_acquire(&session->rules_epoch);
		memset(r, 0, offsetof(struct ruling, path));
		evaluate(c, handler_rules(handlers, epoch), r);
	} while (epoch != get_acquire(&session->rules_epoch));
}
