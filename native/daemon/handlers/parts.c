/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers that a question's arguments stand for, found by their rows as everywhere, and read or written part by
 * part. Called by request.c without the interpreter's lock, since whatever is in the program's memory is waited for.
 */
#include "parts.h"

#include <errno.h>

#include "pack.h"
#include "serve.h"

const struct call_row *parts_row(const struct question *q)
{
	static const struct call_row none;

	return q->nr < CALL_LIMIT ? &call_rows[q->nr] : &none;
}

static int64_t read_vector(struct question *q, uint64_t at, uint64_t count, struct parts *p)
{
	int64_t r;

	if (count > PARTS)
		return -EINVAL;
	r = question_read(q, at, p->iov, 16 * count);
	if (r != (int64_t)(16 * count))
		return r < 0 ? r : -EFAULT;
	p->count = (uint32_t)count;
	for (uint64_t i = 0; i < count; i++) {
		if (p->iov[i][1] > PACK_MAX)
			return -EINVAL;
		p->total += p->iov[i][1];
	}
	return 0;
}

/* The buffers that argument `i` stands for, as the program wrote it down. */
int64_t parts_find(struct question *q, int i, struct parts *p)
{
	const struct call_row *row = parts_row(q);
	const struct call_arg *arg = &row->args[i];
	uint64_t head[7];
	uint32_t deref = 0;
	struct shape shape;
	int64_t r;

	p->count = 0;
	p->total = 0;
	if (arg->length == LEN_DEREF && q->args[arg->len_arg] &&
	    (r = question_read(q, q->args[arg->len_arg], &deref, 4)) != 4)
		return r < 0 ? r : -EFAULT;
	shape = pack_shape(row, i, q->args, deref);
	p->kind = shape.kind;
	if (!q->args[i] || !pack_is_pointer(shape.kind))
		return 0;
	switch (shape.kind) {
	case ARG_SIGMASK:
		shape.len = 8;
		/* fall through */
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		p->iov[0][0] = q->args[i];
		p->iov[0][1] = p->total = shape.len;
		p->count = 1;
		return 0;
	case ARG_IOV_IN:
	case ARG_IOV_OUT:
		return read_vector(q, q->args[i], shape.len, p);
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		r = question_read(q, q->args[i], head, sizeof head);
		if (r != sizeof head)
			return r < 0 ? r : -EFAULT;
		return read_vector(q, head[2], head[3], p);
	}
	return 0;
}

/* Between the handler's bytes and the program's parts, one after the other. */
static int64_t move(struct question *q, const struct parts *p, char *bytes, uint64_t n, int in)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < p->count && done < n; i++) {
		uint64_t part = p->iov[i][1] < n - done ? p->iov[i][1] : n - done;
		int64_t r = in ? question_read(q, p->iov[i][0], bytes + done, part) :
				 question_write(q, p->iov[i][0], bytes + done, part);

		if (r < 0)
			return r;
		done += (uint64_t)r;
		if ((uint64_t)r < part)
			break;
	}
	return (int64_t)done;
}

int64_t parts_gather(struct question *q, const struct parts *p, char *to, uint64_t n)
{
	return move(q, p, to, n, 1);
}

int64_t parts_scatter(struct question *q, const struct parts *p, const char *from, uint64_t n)
{
	return move(q, p, (char *)from, n, 0);
}

int parts_are_output(uint8_t kind)
{
	return kind == ARG_OUT || kind == ARG_IOV_OUT || kind == ARG_MSG_OUT;
}

/* Of an output, what the call has left there. */
uint64_t parts_worth(const struct question *q, int i, const struct parts *p)
{
	const struct call_arg *arg = &parts_row(q)->args[i];

	if (!parts_are_output(p->kind))
		return p->total;
	if (!q->made || q->result < 0)
		return 0;
	if (p->kind == ARG_OUT)
		return pack_filled(arg, p->total, q->result);
	return (uint64_t)q->result < p->total ? (uint64_t)q->result : p->total;
}

static int64_t place_vector(struct question *q, const void *data, uint64_t n)
{
	uint64_t iov[2] = {0, n};
	int64_t at = question_place(q, data, n);

	if (at < 0 && at > -4096)
		return at;
	iov[0] = (uint64_t)at;
	return question_place(q, iov, sizeof iov);
}

/* `data` for argument `i`, and what other arguments say of its length. -ENXIO: not one that can be replaced. */
int64_t parts_replace(struct question *q, uint64_t *args, int i, const char *data, uint64_t n)
{
	const struct call_row *row = parts_row(q);
	const struct call_arg *arg = &row->args[i];
	struct shape shape = pack_shape(row, i, q->args, 0);
	uint64_t head[7];
	int64_t at;

	switch (shape.kind) {
	case ARG_STRING:
		at = question_place(q, data, n + 1); /* Python's bytes end with a NUL */
		break;
	case ARG_IN:
		at = question_place(q, data, n);
		if (arg->length == LEN_ARG)
			args[arg->len_arg] = arg->size ? n / arg->size : n;
		break;
	case ARG_IOV_IN:
		at = place_vector(q, data, n);
		args[arg->len_arg] = 1;
		break;
	case ARG_MSG_IN:
		at = question_read(q, q->args[i], head, sizeof head);
		if (at != sizeof head)
			return at < 0 ? at : -EFAULT;
		at = place_vector(q, data, n);
		if (at < 0 && at > -4096)
			return at;
		head[2] = (uint64_t)at;
		head[3] = 1;
		at = question_place(q, head, sizeof head);
		break;
	default:
		return -ENXIO;
	}
	if (at < 0 && at > -4096)
		return at;
	args[i] = (uint64_t)at;
	return 0;
}
