/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules: which calls are answered, changed, delayed or brought before a handler, decided by the agent itself. The text
 * of a rule is compiled by src/lsca/rules.py into this form, which the extension checks and puts into the session's
 * memory (handler.h). All offsets count from the beginning of struct rules. Here is also what needs no program to be
 * decided: patterns, numbers, addresses.
 */
#ifndef LSCA_RULES_H
#define LSCA_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "calls.h"

#define RULES_MAGIC 0x6c736372u

enum {
	RULES_ROOM = 1 << 18, /* of one set of rules */
	RULE_LIMIT = 512,
	RULE_COUNTERS = 2 * RULE_LIMIT, /* the upper half begins anew with every set of rules */
	RULE_TESTS = 4,
	RULE_CUT_PARTS = 16, /* a vector is cut short if the cut falls into this many of its buffers */
};

enum rules_flags { RULES_DENY = 1 /* without a handler's answer a call fails with EPERM; else it goes on */ };

enum rule_condition {
	RULE_IF_PID = 1,
	RULE_IF_EXE = 2,
	RULE_IF_FD = 4,
	RULE_IF_PATH = 8,
	RULE_IF_ADDRESS = 16,
	RULE_IF_WHEN = 32,    /* only the first, first+step, ... last of the calls that meet all other conditions */
	RULE_IF_CHANCE = 64,
	RULE_IF_AFTER = 128, /* once such calls have moved `after` bytes; up to then they move no more than that */
	RULE_PER_PROCESS = 256, /* what is counted */
	RULE_PER_THREAD = 512,  /* each call by itself, as strace does */
	RULE_CONDITIONS = 1023,
};

/* PASS: the call goes on, and no further rule is looked at. */
enum rule_verdict { VERDICT_NONE, VERDICT_RETURN, VERDICT_ASK, VERDICT_KILL, VERDICT_PASS };

enum rule_op { TEST_EQ, TEST_NE, TEST_LT, TEST_LE, TEST_GT, TEST_GE, TEST_OPS };

/* (args[arg] & mask) op value, both signed; narrow: of the lower half, as an int. */
struct rule_test {
	uint8_t arg, op, narrow, pad[5];
	uint64_t mask;
	int64_t value;
};

struct rule_text {
	uint32_t at, len;
};

/* family 0: any. ip: as many bytes as the family has; `prefix` bits of it count. path: of a Unix socket, a pattern. */
struct rule_address {
	uint16_t family, prefix, port_low, port_high;
	uint8_t ip[16];
	struct rule_text path;
};

struct rule {
	uint32_t id, conditions;
	uint32_t pid, tests;
	struct rule_text exe, path; /* patterns */
	struct rule_text fds;       /* pairs of int32_t, from and to; len counts pairs */
	struct rule_test test[RULE_TESTS];
	struct rule_address address;
	uint32_t counter; /* which of handlers.counts is its own */
	uint32_t verdict;
	uint64_t first, last, step; /* last 0: no end */
	uint64_t chance, seed;      /* of 2^32 */
	uint64_t after;
	int64_t value; /* of VERDICT_RETURN; of VERDICT_KILL, the signal */
	uint32_t signal, has_cut;
	uint64_t before, behind; /* delays in ns */
	uint64_t cut;            /* most bytes that it may move */
	struct rule_text from, to;  /* of paths: a beginning, and what takes its place; len 0: none */
	struct rule_address instead; /* of addresses; family 0: none; port_low 0: the port stays */
};

struct rules {
	uint32_t magic, size; /* of all of it */
	uint32_t count, flags;
	struct rule_text calls[CALL_LIMIT]; /* by call: where the uint16_t numbers of its rules are, and how many */
	struct rule rule[];
};

_Static_assert(sizeof(struct rule_test) == 24 && sizeof(struct rule_address) == 32, "rule parts");
_Static_assert(sizeof(struct rule) == 312, "rule");
_Static_assert(sizeof(struct rules) == 16 + 8 * CALL_LIMIT, "rules");

static inline const char *rules_text(const struct rules *r, struct rule_text t)
{
	return (const char *)r + t.at;
}

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

/* [abc], [a-z], [!a]: 1 if `c` is one of them; *end is where the pattern goes on, 0 if it has no end. */
static inline int rules_class(const char *p, const char *stop, char c, const char **end)
{
	int no = p < stop && (*p == '!' || *p == '^'), is = 0;
	const char *first;

	p += no;
	for (first = p; p < stop && (*p != ']' || p == first); p++) {
		if (p + 2 < stop && p[1] == '-' && p[2] != ']') {
			is |= (unsigned char)*p <= (unsigned char)c && (unsigned char)c <= (unsigned char)p[2];
			p += 2;
		} else {
			is |= *p == c;
		}
	}
	*end = p < stop ? p + 1 : 0;
	return is != no && c != '/';
}

/*
 * `*` and `?` stay within one component of a path, `**` does not, and a component `**` may be none at all. Backslash
 * takes the next character as it is. No recursion: a mismatch takes up the last `*`, and if that must not grow, the
 * last `**`.
 */
static inline int rules_glob(const char *p, uint64_t plen, const char *t, uint64_t tlen)
{
	const char *start = p, *pe = p + plen, *te = t + tlen, *star = 0, *star_t = 0, *deep = 0, *deep_t = 0, *end;
	int whole = 0; /* the last ** stands for whole components */

	for (;;) {
		int fits = 0;

		if (p < pe && *p == '*' && p + 1 < pe && p[1] == '*') {
			whole = p + 2 < pe && p[2] == '/' && (p == start || p[-1] == '/');
			p += whole ? 3 : 2;
			deep = p;
			deep_t = t;
			star = 0;
			continue;
		}
		if (p < pe && *p == '*') {
			star = ++p;
			star_t = t;
			continue;
		}
		if (p == pe && t == te)
			return 1;
		if (p < pe && t < te) {
			if (*p == '?') {
				fits = *t != '/';
				end = p + 1;
			} else if (*p == '[') {
				fits = rules_class(p + 1, pe, *t, &end);
				if (!end) {
					fits = *t == '[';
					end = p + 1;
				}
			} else {
				p += *p == '\\' && p + 1 < pe;
				fits = *p == *t;
				end = p + 1;
			}
		}
		if (fits) {
			p = end;
			t++;
		} else if (star && star_t < te && *star_t != '/') {
			p = star;
			t = ++star_t;
		} else if (deep && deep_t < te) {
			do
				deep_t++;
			while (whole && deep_t < te && deep_t[-1] != '/');
			if (whole && deep_t[-1] != '/')
				return 0;
			star = 0;
			p = deep;
			t = deep_t;
		} else {
			return 0;
		}
	}
}

/* Can a pattern match a path that is not known from its beginning? Its end says no quickly. */
static inline int rules_glob_ends(const char *p, uint64_t plen, const char *t, uint64_t tlen)
{
	while (plen && tlen) {
		char c = p[plen - 1];

		if (c == '*' || c == '?' || c == ']' || (plen > 1 && p[plen - 2] == '\\'))
			return 1;
		if (c != t[tlen - 1])
			return 0;
		plen--;
		tlen--;
	}
	return 1;
}

/* An absolute path without doubled slashes, `.` and `..`, in place; its new length. Links are not followed. */
static inline uint64_t rules_normalise(char *path, uint64_t len)
{
	uint64_t from = 0, to = 0;

	while (from < len) {
		uint64_t n = 0;

		while (from < len && path[from] == '/')
			from++;
		while (from + n < len && path[from + n] != '/')
			n++;
		if (!n)
			break;
		if (n == 1 && path[from] == '.') {
			from += n;
		} else if (n == 2 && path[from] == '.' && path[from + 1] == '.') {
			while (to && path[--to] != '/')
				;
			from += n;
		} else {
			path[to++] = '/';
			for (; n; n--)
				path[to++] = path[from++];
		}
	}
	if (!to)
		path[to++] = '/';
	return to;
}

/* ---- numbers and addresses --------------------------------------------------------------------------------------- */

static inline int rules_test(const struct rule_test *t, uint64_t arg)
{
	int64_t a = (int64_t)(arg & t->mask);

	if (t->narrow)
		a = (int32_t)a;
	switch (t->op) {
	case TEST_EQ:
		return a == t->value;
	case TEST_NE:
		return a != t->value;
	case TEST_LT:
		return a < t->value;
	case TEST_LE:
		return a <= t->value;
	case TEST_GT:
		return a > t->value;
	default:
		return a >= t->value;
	}
}

/* A sockaddr of `len` bytes against a rule's. */
static inline int rules_address(const struct rules *r, const struct rule_address *want, const uint8_t *at, uint64_t len)
{
	uint32_t family = len < 2 ? 0 : (uint32_t)(at[0] | at[1] << 8), port, ip = family == 2 ? 4 : 8;

	if (len < 2 || (want->family && want->family != family))
		return 0;
	if (family == 1 && want->path.len) { /* an abstract one is written with an @ */
		char name[108];
		uint64_t n = 0;

		for (; n < len - 2 && n < sizeof name && (at[2 + n] || !n || !at[2]); n++)
			name[n] = at[2 + n] ? (char)at[2 + n] : '@';
		return rules_glob(rules_text(r, want->path), want->path.len, name, n);
	}
	if (want->path.len)
		return 0;
	if (!want->port_high && !want->prefix)
		return 1;
	if ((family != 2 && family != 10) || len < (family == 2 ? 8u : 24u))
		return 0;
	port = (uint32_t)(at[2] << 8 | at[3]);
	if (want->port_high && (port < want->port_low || port > want->port_high))
		return 0;
	for (uint32_t bit = 0; bit < want->prefix; bit++)
		if ((at[ip + bit / 8] ^ want->ip[bit / 8]) & (0x80 >> bit % 8))
			return 0;
	return 1;
}

/* One of many numbers that a seed stands for (splitmix64). */
static inline uint32_t rules_chance(uint64_t seed, uint64_t n)
{
	uint64_t z = seed + n * 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static inline int rules_within(const struct rules *r, struct rule_text t, uint64_t unit)
{
	return t.at <= r->size && t.len <= (r->size - t.at) / unit;
}

static inline int rules_address_good(const struct rules *r, const struct rule_address *a)
{
	uint32_t bits = a->family == 2 ? 32 : a->family == 10 ? 128 : 0;

	return a->prefix <= bits && a->port_low <= a->port_high && rules_within(r, a->path, 1);
}

/* Whoever uses rules relies on this, which was asked when they were handed in: NULL, or what is wrong. */
static inline const char *rules_problem(const struct rules *r, uint64_t size)
{
	if (size < sizeof *r || size > RULES_ROOM || r->magic != RULES_MAGIC || r->size != size)
		return "no set of rules, or too large a one";
	if (r->count > RULE_LIMIT || r->count > (size - sizeof *r) / sizeof(struct rule))
		return "too many rules";
	for (uint32_t nr = 0; nr < CALL_LIMIT; nr++) {
		if (r->calls[nr].at % 2 || !rules_within(r, r->calls[nr], 2))
			return "a list of rules that leads out of the set";
		for (uint32_t i = 0; i < r->calls[nr].len; i++)
			if (((const uint16_t *)rules_text(r, r->calls[nr]))[i] >= r->count)
				return "the number of a rule that is not there";
	}
	for (uint32_t i = 0; i < r->count; i++) {
		const struct rule *one = &r->rule[i];

		if (one->conditions & ~(uint32_t)RULE_CONDITIONS || one->tests > RULE_TESTS ||
		    one->verdict > VERDICT_PASS || one->counter >= RULE_COUNTERS || one->signal > 64 ||
		    one->chance > 1ull << 32)
			return "a rule with a number out of its range";
		if (!rules_within(r, one->exe, 1) || !rules_within(r, one->path, 1) || !rules_within(r, one->from, 1) ||
		    !rules_within(r, one->to, 1) || one->fds.at % 4 || !rules_within(r, one->fds, 8) ||
		    one->to.len > 2048)
			return "a text that leads out of the set";
		if (!rules_address_good(r, &one->address) || !rules_address_good(r, &one->instead))
			return "an address that is none";
		for (uint32_t k = 0; k < one->tests; k++)
			if (one->test[k].arg >= CALL_ARGS || one->test[k].op >= TEST_OPS)
				return "a test of an argument that is not there";
	}
	return 0;
}

#endif
