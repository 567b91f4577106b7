/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See words.h. Everything here comes out of files that may come from anywhere: no length is believed that has not been
 * compared with what is there.
 */
#include "words.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint8_t *more(struct text *t, size_t n)
{
	size_t room = t->room ? t->room : 256;
	uint8_t *at;

	if (t->room - t->used >= n)
		return t->at + t->used;
	while (room - t->used < n)
		room *= 2;
	at = t->failed ? NULL : realloc(t->at, room);
	if (!at) {
		t->failed = 1;
		return NULL;
	}
	t->at = at;
	t->room = room;
	return at + t->used;
}

void text_add(struct text *t, const void *from, size_t n)
{
	uint8_t *to = n ? more(t, n) : NULL;

	if (!to)
		return;
	memcpy(to, from, n);
	t->used += n;
}

void text_say(struct text *t, const char *words)
{
	text_add(t, words, strlen(words));
}

/* How many bytes the character at `s` has, 0: it is none of UTF-8 (or NUL). */
static size_t character(const uint8_t *s, size_t left)
{
	uint32_t c = s[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

	if (!c || !n || n > left)
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return 0;
	return n;
}

void text_clean(struct text *t, const uint8_t *from, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t begun = 0, i = 0;

	while (i < n) {
		size_t one = from[i] && from[i] < 0x80 ? 1 : character(from + i, n - i);

		if (!one) {
			uint8_t hex[4] = {'\\', 'x', (uint8_t)digits[from[i] >> 4], (uint8_t)digits[from[i] & 15]};

			text_add(t, from + begun, i - begun);
			text_add(t, hex, sizeof hex);
			begun = ++i;
			continue;
		}
		i += one;
	}
	text_add(t, from + begun, n - begun);
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* Adds the names of a path behind what stands from `begin` on. `is_absolute`: there is nothing above it. */
static void add_names(struct text *t, size_t begin, int is_absolute, const uint8_t *path, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t end = at;

		while (end < len && path[end] != '/')
			end++;
		if (end - at == 2 && path[at] == '.' && path[at + 1] == '.') {
			size_t cut = t->used;

			while (cut > begin && t->at[cut - 1] != '/')
				cut--;
			/* Above a relative path's beginning nothing is known. */
			if (!is_absolute && (t->used == begin || (t->used - cut == 2 && !memcmp(t->at + cut, "..", 2)))) {
				if (t->used > begin)
					text_say(t, "/");
				text_say(t, "..");
			} else {
				t->used = cut > begin ? cut - 1 : begin;
			}
		} else if (end > at && !(end - at == 1 && path[at] == '.')) {
			if (is_absolute || t->used > begin)
				text_say(t, "/");
			text_add(t, path + at, end - at);
		}
		at = end + 1;
	}
}

void words_path(struct text *t, const uint8_t *base, size_t base_len, const uint8_t *path, size_t len)
{
	size_t begin = t->used;
	const uint8_t *nul = len ? memchr(path, 0, len) : NULL;
	int is_absolute;

	if (nul)
		len = (size_t)(nul - path);
	if (!len) { /* AT_EMPTY_PATH: the descriptor itself */
		text_add(t, base, base_len);
		return;
	}
	is_absolute = path[0] == '/' || (base_len && base[0] == '/');
	if (path[0] != '/' && is_absolute)
		add_names(t, begin, 1, base, base_len);
	add_names(t, begin, is_absolute, path, len);
	if (t->used == begin)
		text_say(t, is_absolute ? "/" : ".");
}

/* ---- addresses -------------------------------------------------------------------------------------------------- */

static void add_unix(struct text *t, const uint8_t *path, size_t len)
{
	text_say(t, "unix:");
	if (len && !path[0]) {
		text_say(t, "@");
		text_add(t, path + 1, len - 1);
		return;
	}
	text_add(t, path, strnlen((const char *)path, len));
}

void words_address(struct text *t, const uint8_t *address, size_t len)
{
	char words[INET6_ADDRSTRLEN], line[INET6_ADDRSTRLEN + 16];
	uint16_t family, port = 0;
	uint32_t number;

	if (len < sizeof family)
		return;
	memcpy(&family, address, sizeof family);
	if (len >= 4)
		port = (uint16_t)(address[2] << 8 | address[3]);
	if (family == AF_UNIX) {
		add_unix(t, address + 2, len - 2);
		return;
	}
	if (family == AF_INET && len >= 8 && inet_ntop(AF_INET, address + 4, words, sizeof words)) {
		snprintf(line, sizeof line, "%s:%u", words, port);
	} else if (family == AF_INET6 && len >= 24 && inet_ntop(AF_INET6, address + 8, words, sizeof words)) {
		snprintf(line, sizeof line, "[%s]:%u", words, port);
	} else if (family == AF_NETLINK && len >= 8) {
		memcpy(&number, address + 4, sizeof number);
		snprintf(line, sizeof line, "netlink:%u", number);
	} else {
		snprintf(line, sizeof line, "family:%u", family);
	}
	text_say(t, line);
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static int is_harmless(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("@%+=:,./-_", c));
}

static void add_quoted(struct text *t, const uint8_t *s, size_t n)
{
	size_t harmless = 0, begun = 0;

	while (harmless < n && is_harmless(s[harmless]))
		harmless++;
	if (n && harmless == n) {
		text_add(t, s, n);
		return;
	}
	text_say(t, "'");
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '\'')
			continue;
		text_add(t, s + begun, i - begun);
		text_say(t, "'\"'\"'");
		begun = i + 1;
	}
	text_add(t, s + begun, n - begun);
	text_say(t, "'");
}

void words_argv(struct text *t, const uint8_t *strings, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t n = strnlen((const char *)strings + at, len - at);

		if (at)
			text_say(t, " ");
		add_quoted(t, strings + at, n);
		at += n + 1;
	}
}
