/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are made of what calls were given: paths put together, socket addresses, argument lists. They may hold any
 * bytes; text_clean() makes UTF-8 of them.
 */
#ifndef LSCA_WORDS_H
#define LSCA_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* A text that grows. Without memory it stays as it is and `failed` is set. */
struct text {
	uint8_t *at;
	size_t used, room;
	int failed;
};

void text_add(struct text *t, const void *from, size_t n);
void text_say(struct text *t, const char *words);
/* UTF-8 as it is; every byte that is none as \xNN, every NUL as \x00. */
void text_clean(struct text *t, const uint8_t *from, size_t n);

/*
 * A path from where `base` is. Repeated slashes and dots go, and `..` takes the name before it away: by the text, which
 * is not where the kernel arrives if that name is a symbolic link. Without an absolute base a relative path stays so.
 */
void words_path(struct text *t, const uint8_t *base, size_t base_len, const uint8_t *path, size_t len);
/* 127.0.0.1:80, [::1]:80, unix:/run/x, unix:@abstract, netlink:PID, or family:N; nothing for less than a family. */
void words_address(struct text *t, const uint8_t *address, size_t len);
/* The strings of argv, each with its NUL, as a shell would take them. */
void words_argv(struct text *t, const uint8_t *strings, size_t len);

#endif
