/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a descriptor stands for, told to the log as an event where no call says it: those received from others, the two
 * ends of a connection, and all that are open where the agent came late. Called after the call's own record.
 * Under the route `proxy` the descriptor is the proxy's, and is borrowed to be looked at.
 */
#include "agent.h"

#include "outside.h"

enum {
	AT_FDCWD_ = -100,
	EINPROGRESS_ = 115,
	PATH_ROOM = 4096,
	ADDRESS_ROOM = 128, /* struct sockaddr_storage */
	PIECES_ROOM = PATH_ROOM + 2 * ADDRESS_ROOM + 48,
	SCM_RIGHTS_ = 1,
	SOL_SOCKET_ = 1,
	CONTROLS = 16, /* of one message that are looked at */
};

int event_follows(uint64_t nr)
{
	switch (nr) {
	case NR_connect:
	case NR_bind:
	case NR_accept:
	case NR_accept4:
	case NR_recvmsg:
	case NR_recvmmsg:
	case NR_pidfd_getfd:
		return 1;
	}
	return 0;
}

static void add_link(struct log_record *r, const char *path)
{
	int64_t n = GATE4(NR_readlinkat, AT_FDCWD_, path, record_event_place(r), PATH_ROOM);

	if (n > 0)
		record_event_piece(r, 0, (uint64_t)n);
}

void event_address(struct log_record *r, int arg, uint64_t nr, int64_t fd)
{
	uint32_t n = ADDRESS_ROOM;

	if (GATE3(nr, fd, record_event_place(r), &n) >= 0 && n >= 2 && n <= ADDRESS_ROOM)
		record_event_piece(r, arg, n);
}

static void tell(struct thread *t, int32_t fd)
{
	struct log_record *r;
	char path[32], *p = path;
	int64_t here = fd;

	if (t->process->channel && (here = delegate_borrow(t, (uint32_t)fd)) < 0)
		return;
	r = record_event_begin(t, RECORD_FD, 1, PIECES_ROOM);
	if (r) {
		r->args[0] = (uint32_t)fd;
		p = start_append(p, "/proc/self/fd/");
		p = start_decimal(p, (uint32_t)here);
		*p = 0;
		add_link(r, path);
		event_address(r, 1, NR_getsockname, here);
		event_address(r, 2, NR_getpeername, here);
		record_event_end(t, r);
	}
	if (t->process->channel)
		GATE1(NR_close, here);
}

/* Descriptors that came with the message whose struct msghdr is there. */
static void tell_received(struct thread *t, uint64_t at)
{
	uint64_t m[7], head[2];

	if (memory_read(m, at, sizeof m) < sizeof m || !m[4])
		return;
	for (int i = 0; i < CONTROLS && m[5] >= sizeof head; i++) {
		uint64_t step;

		if (memory_read(head, m[4], sizeof head) < sizeof head || head[0] < sizeof head || head[0] > m[5])
			return;
		if ((uint32_t)head[1] == SOL_SOCKET_ && head[1] >> 32 == SCM_RIGHTS_)
			for (uint64_t done = sizeof head; done + 4 <= head[0]; done += 4) {
				int32_t fd;

				if (memory_read(&fd, m[4] + done, sizeof fd) == sizeof fd && fd >= 0)
					tell(t, fd);
			}
		step = (head[0] + 7) & ~7ull;
		if (step > m[5])
			return;
		m[4] += step;
		m[5] -= step;
	}
}

void event_after(struct call *c, int64_t ret)
{
	/* A filter of the program's may forbid to ask. */
	if (sites_are_quiet() || (ret < 0 && !(c->nr == NR_connect && ret == -EINPROGRESS_)))
		return;
	switch (c->nr) {
	case NR_connect:
	case NR_bind:
		tell(c->thread, (int32_t)c->args[0]);
		break;
	case NR_accept:
	case NR_accept4:
	case NR_pidfd_getfd:
		tell(c->thread, (int32_t)ret);
		break;
	case NR_recvmsg:
		tell_received(c->thread, c->args[1]);
		break;
	case NR_recvmmsg:
		for (uint64_t i = 0; i < (uint64_t)ret; i++)
			tell_received(c->thread, c->args[1] + 64 * i);
		break;
	}
}

static int32_t number_of(const char *name)
{
	int32_t n = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (*name - '0');
	return *name ? -1 : n;
}

static void tell_directory(struct thread *t)
{
	struct log_record *r = record_event_begin(t, RECORD_FD, 1, PIECES_ROOM);

	if (!r)
		return;
	r->args[0] = (uint64_t)AT_FDCWD_;
	add_link(r, "/proc/self/cwd");
	record_event_end(t, r);
}

static int is_open(int32_t fd)
{
	return GATE2(NR_fcntl, fd, 1) >= 0; /* F_GETFD */
}

void event_all(struct thread *t, int few)
{
	int64_t dir, n;
	char room[1024];

	if (!record_is_on())
		return;
	tell_directory(t);
	for (int32_t fd = 0; few && fd < 3; fd++)
		if (is_open(fd))
			tell(t, fd);
	if (few)
		return;
	dir = GATE4(NR_openat, AT_FDCWD_, "/proc/self/fd", 02200000, 0); /* O_DIRECTORY, O_CLOEXEC */
	while (dir >= 0 && (n = GATE3(NR_getdents64, dir, room, sizeof room)) > 0)
		for (int64_t at = 0; at < n; at += *(uint16_t *)(room + at + 16)) {
			int32_t fd = number_of(room + at + 19);

			if (fd >= 0 && fd != dir && room[at + 19] != '.')
				tell(t, fd);
		}
	if (dir >= 0)
		GATE1(NR_close, dir);
}

/* What runs here, where neither a launcher nor an exec has said so. */
void event_program(struct thread *t)
{
	struct log_record *r = record_event_begin(t, RECORD_PROGRAM, 0, PIECES_ROOM);
	int64_t fd, n = 0;

	if (!r)
		return;
	fd = GATE4(NR_openat, AT_FDCWD_, "/proc/self/cmdline", 02000000, 0); /* O_CLOEXEC */
	if (fd >= 0) {
		n = GATE3(NR_read, fd, record_event_place(r), PATH_ROOM);
		GATE1(NR_close, fd);
	}
	if (n > 0)
		record_event_piece(r, 0, (uint64_t)n);
	record_event_end(t, r);
}
