/* SPDX-License-Identifier: Apache-2.0 */
/* What a question's arguments point to. All of it returns negative errno where it can fail. */
#ifndef LSCA_PARTS_H
#define LSCA_PARTS_H

#include <stdint.h>

struct call_row;
struct question;

enum { PARTS = 1024 };

struct parts {
	uint8_t kind; /* the argument's, resolved */
	uint32_t count;
	uint64_t total;
	uint64_t iov[PARTS][2];
};

const struct call_row *parts_row(const struct question *q);
int64_t parts_find(struct question *q, int i, struct parts *p); /* as the program wrote it down */
int64_t parts_gather(struct question *q, const struct parts *p, char *to, uint64_t n);
int64_t parts_scatter(struct question *q, const struct parts *p, const char *from, uint64_t n);
int parts_are_output(uint8_t kind);
uint64_t parts_worth(const struct question *q, int i, const struct parts *p);
/* `data` for argument `i`, and what others say of its length. -ENXIO: not one that can be replaced. */
int64_t parts_replace(struct question *q, uint64_t *args, int i, const char *data, uint64_t n);

#endif
