/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts what a call's arguments point to into the thread's slot, or into its arena when it is large, and brings back
 * what the call has written. The row says what is what; a call that the kernel would do at once stays one call.
 */
#include "packer.h"

enum { CONTROL_LIMIT = 32768, NAME_LIMIT = 128, ARENA_LEAST = 65536 };

/* Make our view of the arena at least `need` bytes; the pages behind it are shared and keep their contents. */
static int64_t arena_reach(struct thread *t, uint64_t need)
{
	uint64_t size = t->arena_size ? t->arena_size : ARENA_LEAST;
	int64_t r;

	if (need > ARENA_SPAN / 2)
		return -ENOMEM_;
	while (size < need)
		size *= 2;
	if (size == t->arena_size)
		return 0;
	r = GATE6(NR_mmap, 0, size, 3, 0x4001, t->process->channel_fd, ARENA_AT(t->slot)); /* MAP_NORESERVE */
	if (packer_failed(r))
		return r;
	GATE3(NR_madvise, r, size, 10);
	if (t->arena)
		GATE2(NR_munmap, t->arena, t->arena_size);
	t->arena = (uint8_t *)r;
	t->arena_size = size;
	return 0;
}

/* Give the memory of a grown arena back. */
void packer_trim(struct thread *t)
{
	if (t->arena_size <= ARENA_KEEP)
		return;
	GATE4(NR_fallocate, t->process->channel_fd, 3, ARENA_AT(t->slot), t->arena_size); /* PUNCH_HOLE | KEEP_SIZE */
	GATE2(NR_munmap, t->arena, t->arena_size);
	t->arena = 0;
	t->arena_size = 0;
}

/* Make room for `len` more bytes at an offset of 8; moves to the arena when the slot is too small. */
static int64_t reserve(struct packer *p, uint64_t len)
{
	uint64_t at = (p->used + 7) & ~7ull, end = at + len;

	if (end > p->room) {
		int64_t r = arena_reach(p->thread, end);

		if (r < 0)
			return r;
		if (p->base == p->slot->payload)
			memcpy(p->thread->arena, p->base, p->used);
		p->base = p->thread->arena;
		p->room = p->thread->arena_size;
	}
	p->used = end;
	return (int64_t)at;
}

static int64_t load_iov(struct packer *p, struct plan *plan, uint64_t from, uint64_t count, uint64_t *total)
{
	uint64_t (*iov)[2];
	int64_t at;

	if (count > IOV_LIMIT)
		return -EINVAL_;
	at = reserve(p, count * 16);
	if (at < 0)
		return at;
	if (memory_read(p->base + at, from, count * 16) < count * 16)
		return -EFAULT_;
	iov = (uint64_t(*)[2])(p->base + at);
	*total = 0;
	for (uint64_t i = 0; i < count; i++) {
		if ((int64_t)iov[i][1] < 0)
			return -EINVAL_;
		*total += iov[i][1];
		if (*total > PACK_MAX)
			*total = PACK_MAX;
	}
	plan->iov = (uint64_t)at;
	plan->iov_count = (uint32_t)count;
	return 0;
}

static int64_t pack_message(struct packer *p, struct plan *plan, uint64_t from, int in)
{
	struct flat_msg head;
	struct msghdr m;
	uint64_t total;
	int64_t at, r;
	uint8_t *to;

	if (memory_read(&m, from, sizeof m) < sizeof m)
		return -EFAULT_;
	if ((int32_t)m.name_len < 0)
		return -EINVAL_;
	if (m.iov_len > IOV_LIMIT)
		return -EMSGSIZE_;
	if (m.control_len > CONTROL_LIMIT) {
		if (in)
			return -ENOBUFS_;
		m.control_len = CONTROL_LIMIT;
	}
	r = load_iov(p, plan, m.iov, m.iov_len, &total);
	if (r < 0)
		return r;
	memset(&head, 0, sizeof head);
	head.has_name = !!m.name && m.name_len;
	head.name_len = m.name_len < NAME_LIMIT ? m.name_len : NAME_LIMIT;
	head.has_control = !!m.control && m.control_len;
	head.control_len = (uint32_t)m.control_len;
	head.data_len = (uint32_t)total;
	if (!head.has_name)
		head.name_len = 0;
	if (!head.has_control)
		head.control_len = 0;
	at = reserve(p, sizeof head + head.name_len + head.control_len + total);
	if (at < 0)
		return at;
	plan->at = (uint64_t)at;
	plan->len = sizeof head + head.name_len + head.control_len + total;
	to = p->base + at;
	memcpy(to, &head, sizeof head);
	to += sizeof head;
	if (in) {
		if (memory_read(to, m.name, head.name_len) < head.name_len)
			return -EFAULT_;
		to += head.name_len;
		if (memory_read(to, m.control, head.control_len) < head.control_len)
			return -EFAULT_;
		to += head.control_len;
		if (memory_gather(to, (const uint64_t(*)[2])(p->base + plan->iov), plan->iov_count, total) < total)
			return -EFAULT_;
	}
	return 0;
}

static int64_t unpack_message(struct packer *p, const struct plan *plan, uint64_t to, int64_t ret)
{
	const uint8_t *from = p->base + plan->at;
	struct flat_msg head;
	struct msghdr m, now;
	uint64_t name_room, control_room;

	memcpy(&head, from, sizeof head);
	if (memory_read(&m, to, sizeof m) < sizeof m)
		return -EFAULT_;
	now = m;
	/* Offsets are by what was asked for; lengths in the head are what came. */
	name_room = m.name && m.name_len ? (m.name_len < NAME_LIMIT ? m.name_len : NAME_LIMIT) : 0;
	control_room = m.control ? (m.control_len < CONTROL_LIMIT ? m.control_len : CONTROL_LIMIT) : 0;
	from += sizeof head;
	if (m.name) {
		uint64_t n = head.name_len < name_room ? head.name_len : name_room;

		if (memory_write(m.name, from, n) < n)
			return -EFAULT_;
		now.name_len = head.name_len;
	}
	from += name_room;
	if (head.control_len <= control_room && memory_write(m.control, from, head.control_len) < head.control_len)
		return -EFAULT_;
	now.control_len = head.control_len;
	now.flags = head.flags;
	from += control_room;
	{
		uint64_t n = (uint64_t)ret < head.data_len ? (uint64_t)ret : head.data_len;

		if (memory_scatter((const uint64_t(*)[2])(p->base + plan->iov), plan->iov_count, from, n) < n)
			return -EFAULT_;
	}
	if (memory_write(to + 8, &now.name_len, 4) < 4 || memory_write(to + 40, &now.control_len, 8) < 8 ||
	    memory_write(to + 48, &now.flags, 4) < 4)
		return -EFAULT_;
	return ret;
}

/* Put argument `i` into the payload. 1: this call must be made in the program, on borrowed descriptors. */
static int64_t pack_good(struct call *c, struct packer *p, int i)
{
	const struct call_arg *arg = &c->row->args[i];
	struct plan *plan = &p->plan[i];
	uint64_t from = c->args[i], total;
	uint32_t deref = 0;
	int64_t at, r;

	plan->len = 0;
	if (from && arg->length == LEN_DEREF && arg->kind >= ARG_STRING) {
		if (memory_read(&deref, c->args[arg->len_arg], 4) < 4)
			return -EFAULT_;
		if ((int32_t)deref < 0)
			return -EINVAL_;
	}
	plan->shape = pack_shape(c->row, i, c->args, deref);
	if (plan->shape.runs == RUNS_BORROW)
		return 1;
	if (!pack_is_pointer(plan->shape.kind))
		return 0;
	if (!from || plan->shape.kind == ARG_SIGMASK || plan->shape.kind == ARG_SIGMASK6) {
		plan->at = EXTENT_NULL;
		plan->len = EXTENT_NULL;
		return 0;
	}
	switch (plan->shape.kind) {
	case ARG_STRING:
		at = reserve(p, PACK_STRING);
		if (at < 0)
			return at;
		r = memory_string((char *)p->base + at, from, PACK_STRING);
		if (r < 0)
			return r;
		plan->at = (uint64_t)at;
		plan->len = (uint64_t)r + 1;
		p->used = (uint64_t)at + plan->len;
		return 0;
	case ARG_IN:
	case ARG_INOUT:
	case ARG_OUT:
		at = reserve(p, plan->shape.len);
		if (at < 0)
			return at;
		plan->at = (uint64_t)at;
		plan->len = plan->shape.len;
		if (plan->shape.kind == ARG_OUT) {
			/* What a read takes away is gone: find out before whether there is a place for it. */
			if (plan->len && c->row->flags & CALL_BLOCKS && !memory_read(p->base + at, from, 1))
				return -EFAULT_;
			return 0;
		}
		total = memory_read(p->base + at, from, plan->len);
		if (total < plan->len) {
			/* A write stops at the first page that is not there, if anything came before. */
			if (!total || arg->length != LEN_ARG || !(c->row->flags & CALL_TERMINAL))
				return -EFAULT_;
			plan->len = total;
			p->slot->args[arg->len_arg] = total;
		}
		return 0;
	case ARG_IOV_IN:
	case ARG_IOV_OUT:
		r = load_iov(p, plan, from, c->args[arg->len_arg], &total);
		if (r < 0)
			return r;
		at = reserve(p, total);
		if (at < 0)
			return at;
		plan->at = (uint64_t)at;
		plan->len = total;
		if (plan->shape.kind == ARG_IOV_IN) {
			uint64_t got = memory_gather(p->base + at, (const uint64_t(*)[2])(p->base + plan->iov),
						     plan->iov_count, total);

			if (!got && total)
				return -EFAULT_;
			plan->len = got;
		}
		return 0;
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		return pack_message(p, plan, from, plan->shape.kind == ARG_MSG_IN);
	default:
		return 1; /* a pointer only the program's own process can use */
	}
}

/* An address that leads nowhere: which error comes first (EBADF, EINVAL, ...) is for the kernel to say. */
int64_t packer_in(struct call *c, struct packer *p, int i)
{
	int64_t r = pack_good(c, p, i);

	if (r != -EFAULT_)
		return r;
	p->plan[i].at = 0;
	p->plan[i].len = EXTENT_BAD;
	return 0;
}

int64_t packer_out(struct call *c, struct packer *p, int i, int64_t ret)
{
	const struct call_arg *arg = &c->row->args[i];
	struct plan *plan = &p->plan[i];
	uint64_t n, got;

	if (!pack_is_pointer(plan->shape.kind) || plan->len == EXTENT_NULL || plan->len == EXTENT_BAD)
		return ret;
	switch (plan->shape.kind) {
	case ARG_OUT:
	case ARG_INOUT:
		n = pack_filled(arg, plan->len, ret);
		if (arg->length == LEN_DEREF && p->plan[arg->len_arg].len == 4) {
			uint32_t now;

			/* How much of it the kernel has written stands in the length it returns. */
			memcpy(&now, p->base + p->plan[arg->len_arg].at, 4);
			n = now < n ? now : n;
		}
		got = memory_write(c->args[i], p->base + plan->at, n);
		/* A remaining time that finds no place is lost: the kernel says nothing either. */
		if (got == n || arg->flags & ARG_ON_ERROR)
			return ret;
		return got && arg->flags & ARG_FILLED && arg->size == 1 ? (int64_t)got : -EFAULT_;
	case ARG_IOV_OUT:
		if (ret <= 0)
			return ret;
		n = (uint64_t)ret < plan->len ? (uint64_t)ret : plan->len;
		got = memory_scatter((const uint64_t(*)[2])(p->base + plan->iov), plan->iov_count,
				     p->base + plan->at, n);
		return got ? (int64_t)got : -EFAULT_;
	case ARG_MSG_OUT:
		return ret < 0 ? ret : unpack_message(p, plan, c->args[i], ret);
	default:
		return ret;
	}
}
