/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules decide without a program: test_rules [SEED]. Patterns against a plain recursive matcher that says what
 * they mean; paths against what a stack of components makes of them; sets of rules with any byte changed, which are
 * refused or harmless. Texts and patterns end at the end of their memory, so the sanitizers see who reads on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules.h"

enum { PATTERNS = 2000000, PATHS = 300000, SETS = 200000, LONGEST = 12 };

static uint64_t state = 88172645463325252ull;

static uint32_t chance(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % below;
}

static void die(const char *what, const char *p, const char *t)
{
	printf("test_rules: %s: [%s] and [%s]\n", what, p, t);
	fflush(stdout);
	abort();
}

/* What a pattern means, said as plainly as possible. `head`: the pattern is at the beginning of a component. */
static int means(const char *p, const char *t, int head)
{
	if (!*p)
		return !*t;
	if (p[0] == '*' && p[1] == '*') {
		if (head && p[2] == '/') {
			if (means(p + 3, t, 1))
				return 1;
			for (; *t; t++)
				if (*t == '/' && means(p + 3, t + 1, 1))
					return 1;
			return 0;
		}
		do
			if (means(p + 2, t, 0))
				return 1;
		while (*t++);
		return 0;
	}
	if (*p == '*') {
		for (;; t++) {
			if (means(p + 1, t, 0))
				return 1;
			if (!*t || *t == '/')
				return 0;
		}
	}
	if (!*t)
		return 0;
	if (*p == '?')
		return *t != '/' && means(p + 1, t + 1, 0);
	if (*p == '\\' && p[1])
		p++;
	return *p == *t && means(p + 1, t + 1, *p == '/');
}

static char *text(const char *of, uint32_t kinds)
{
	uint32_t n = chance(LONGEST);
	char *s = malloc(n + 1);

	for (uint32_t i = 0; i < n; i++)
		s[i] = of[chance(kinds)];
	s[n] = 0;
	return s;
}

/* Without the NUL, in memory of its own. */
static char *tight(const char *s)
{
	size_t n = strlen(s);
	char *to = malloc(n ? n : 1);

	memcpy(to, s, n);
	return to;
}

static void patterns(void)
{
	unsigned long met = 0;

	for (int i = 0; i < PATTERNS; i++) {
		char *p = text("ab/*?*/*\\", 9), *t = text("ab//a", 5), *tp = tight(p), *tt = tight(t);
		uint64_t np = strlen(p), nt = strlen(t);
		int got = rules_glob(tp, np, tt, nt);

		if (!strstr(p, "***") && got != means(p, t, 1))
			die("a pattern that means something else", p, t);
		if (got && !rules_glob_ends(tp, np, tt, nt))
			die("an end that would not do", p, t);
		met += (unsigned)got;
		free(p), free(t), free(tp), free(tt);
	}
	if (met < PATTERNS / 1000)
		die("hardly any pattern met its text", "", "");
}

static void paths(void)
{
	for (int i = 0; i < PATHS; i++) {
		char *p = text("a./.b/", 6), *was, *out = malloc(LONGEST + 2), want[2 * LONGEST] = "", *save, *s;
		uint64_t n;

		out[0] = '/';
		strcpy(out + 1, p);
		was = strdup(out);
		for (s = strtok_r(p, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
			if (!strcmp(s, "."))
				continue;
			if (!strcmp(s, "..")) {
				*(strrchr(want, '/') ? strrchr(want, '/') : want) = 0;
				continue;
			}
			strcat(want, "/");
			strcat(want, s);
		}
		n = rules_normalise(out, strlen(out));
		if (n != (want[0] ? strlen(want) : 1) || memcmp(out, want[0] ? want : "/", n))
			die("a path that leads elsewhere", was, want);
		free(p), free(was), free(out);
	}
}

/* Bytes of a good set are changed; if it still passes, all that it points to is within it. */
static void sets(void)
{
	const uint64_t size = sizeof(struct rules) + 2 * sizeof(struct rule) + 64;
	uint8_t address[128];
	unsigned long good = 0;

	for (int i = 0; i < SETS; i++) {
		struct rules *r = calloc(1, size);
		uint32_t pool = (uint32_t)(size - 64);

		r->magic = RULES_MAGIC;
		r->size = (uint32_t)size;
		r->count = 2;
		r->calls[3] = (struct rule_text){pool, 2};
		((uint16_t *)((char *)r + pool))[1] = 1;
		for (int k = 0; k < 2; k++) {
			r->rule[k].path = r->rule[k].from = (struct rule_text){pool + 8, 8};
			r->rule[k].fds = (struct rule_text){pool + 16, 3};
			r->rule[k].address = (struct rule_address){.family = 2, .prefix = 8, .path = {pool, 5}};
		}
		for (uint32_t n = chance(3); n; n--)
			((uint8_t *)r)[chance(2) ? chance((uint32_t)size) :
						   sizeof *r + chance(2 * sizeof(struct rule))] = (uint8_t)chance(256);
		if (!rules_problem(r, size)) {
			good++;
			for (uint32_t k = 0; k < sizeof address; k++)
				address[k] = (uint8_t)chance(12);
			for (uint32_t k = 0; k < r->count; k++) {
				const struct rule *one = &r->rule[k];

				rules_glob(rules_text(r, one->path), one->path.len, "/a/b", 4);
				rules_address(r, &one->address, address, chance(sizeof address));
				for (uint32_t t = 0; t < one->tests; t++)
					rules_test(&one->test[t], chance(1000));
			}
		}
		free(r);
	}
	if (!good || good == SETS)
		die("all sets, or none, are good", "", "");
}

int main(int argc, char **argv)
{
	if (argc > 1)
		state = strtoull(argv[1], NULL, 0) | 1;
	patterns();
	paths();
	sets();
	printf("%d patterns, %d paths, %d sets of rules\n", PATTERNS, PATHS, SETS);
	return 0;
}
