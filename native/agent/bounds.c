/* SPDX-License-Identifier: Apache-2.0 */
/* How large the record of a call can become, and of which calls it is nothing but numbers. For record.c and fast.c. */
#include "bounds.h"
#include "pack.h"

enum {
	KEEP_OTHER = 640, /* no other piece is larger, its head included */
	WIDE = 16,
};

/* The first word of a record of a call of which only numbers are kept; 0: it is not one of those, or not known yet. */
uint64_t record_heads[CALL_LIMIT] WARM("");
static uint16_t bounds[CALL_LIMIT] WARM("");

int bounds_is_buffer(const struct call_arg *arg)
{
	return (arg->kind == ARG_IN || arg->kind == ARG_OUT || arg->kind == ARG_INOUT) && !(arg->flags & ARG_WHOLE) &&
	       arg->length != LEN_CONST;
}

static int is_vector(uint8_t kind)
{
	return kind == ARG_IOV_IN || kind == ARG_IOV_OUT;
}

/* Anything of what descriptors carry? */
static uint32_t keeps_contents(void)
{
	uint64_t some = 0;

	for (int i = 0; i < KEEP_FDS / 64; i++)
		some |= session->keep_read[i] | session->keep_write[i];
	return some ? KEEP_MOST : session->keep_bytes;
}

/* The second list of strings, which is nobody's business. */
int bounds_is_environment(const struct call_row *row, int i)
{
	return i && row->args[i - 1].kind == ARG_STRINGS;
}

/* An upper bound of a record's size, in bytes. */
static uint32_t bound(const struct call_row *row, uint32_t contents)
{
	uint32_t n = sizeof(struct log_record) + 8 * CALL_ARGS + WIDE;

	for (int i = 0; i < row->nargs; i++) {
		const struct call_arg *arg = &row->args[i];

		if (arg->kind == ARG_STRING)
			n += PACK_STRING + 16;
		else if (arg->kind == ARG_STRINGS)
			n += bounds_is_environment(row, i) ? 0 : KEEP_STRINGS + 16;
		else if (bounds_is_buffer(arg) || is_vector(arg->kind))
			n += contents ? (contents + 16) * (arg->kind == ARG_INOUT ? 2 : 1) : 0;
		else if (arg->kind == ARG_MSG_IN || arg->kind == ARG_MSG_OUT)
			n += KEEP_OTHER + contents;
		else if (arg->kind == ARG_INOUT || arg->kind >= ARG_FCNTL)
			n += 2 * KEEP_OTHER;
		else if (pack_is_pointer(arg->kind))
			n += KEEP_OTHER;
	}
	return n < CHUNK_ROOM ? n : CHUNK_ROOM;
}

static int is_plain(const struct call_row *row, uint32_t contents)
{
	for (int i = 0; i < row->nargs; i++) {
		const struct call_arg *arg = &row->args[i];
		int numbers = !pack_is_pointer(arg->kind) || arg->kind == ARG_POINTER || arg->kind == ARG_MMSG_IN ||
			      arg->kind == ARG_MMSG_OUT;

		if (!numbers && (contents || !(bounds_is_buffer(arg) || is_vector(arg->kind))))
			return 0;
	}
	return 1;
}

/* When a call is made for the first time: a program makes few of all that there are. */
uint32_t bounds_of(uint64_t nr)
{
	static uint32_t contents = ~0u;
	const struct call_row *row = &call_rows[nr];
	uint64_t args = row->flags & CALL_KNOWN ? row->nargs : CALL_ARGS;

	if (bounds[nr])
		return bounds[nr];
	if (contents == ~0u)
		contents = keeps_contents();
	if (row->flags & CALL_KNOWN && is_plain(row, contents) && !event_follows(nr))
		record_heads[nr] = (sizeof(struct log_record) / 8 + args) | nr << 16 | (uint64_t)RECORD_CALL << 32 |
				   args << 56;
	bounds[nr] = (uint16_t)bound(row, contents);
	return bounds[nr];
}

/* What its strings may take of it. */
uint32_t bounds_strings(const struct call_row *row)
{
	uint32_t n = 0;

	for (int i = 0; i < row->nargs; i++)
		if (row->args[i].kind == ARG_STRING)
			n += PACK_STRING;
		else if (row->args[i].kind == ARG_STRINGS && !bounds_is_environment(row, i))
			n += KEEP_STRINGS;
	return n;
}
