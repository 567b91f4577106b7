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
	TEXT_ROOM = 256,
	FEW_ROOM = TEXT_ROOM + 2 * ADDRESS_ROOM + 48,
	SCM_RIGHTS_ = 1,
	SOL_SOCKET_ = 1,
	CONTROLS = 16, /* of one message that are looked at */
	ARGV_ROOM = 16384,
	EMPTY_PATH_ = 0x1000, /* AT_EMPTY_PATH */
	WANTS_INODE = 0x101,  /* STATX_TYPE, STATX_INO */
	KIND = 0170000, FIFO = 0010000, DEVICE = 0020000, SOCKET = 0140000,
	PIPEFS = 0x50495045, SOCKFS = 0x534f434b,
	RDEV = 16, DEV = 17, /* words of struct statx */
};
#define NULL_DEVICE (1 | 3ull << 32)

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

/*
 * A pipe, a socket, /dev/null: what most programs are started with, and known without a look into /proc, which for a
 * process that nobody has looked for there yet costs as much as ten calls.
 */
static int add_known(struct log_record *r, int64_t fd, const uint64_t *about)
{
	uint64_t kind = about[3] >> 32 & KIND, other[32], inode = about[4];
	char *text = (char *)record_event_place(r), *to = text;

	if (kind == FIFO || kind == SOCKET) {
		/* A name in a directory can be of that kind, too. */
		if (GATE2(NR_fstatfs, fd, other) < 0 || other[0] != (kind == FIFO ? PIPEFS : SOCKFS) || inode >> 32)
			return 0;
		to = start_append(to, kind == FIFO ? "pipe:[" : "socket:[");
		to = start_decimal(to, (uint32_t)inode);
		to = start_append(to, "]");
	} else if (kind == DEVICE && about[RDEV] == NULL_DEVICE) {
		if (GATE6(NR_statx, AT_FDCWD_, "/dev/null", 0, WANTS_INODE, other, 0) < 0 || other[4] != inode ||
		    other[RDEV] != about[RDEV] || other[DEV] != about[DEV])
			return 0;
		to = start_append(to, "/dev/null");
	} else {
		return 0;
	}
	record_event_piece(r, 0, (uint64_t)(to - text));
	return 1;
}

void event_address(struct log_record *r, int arg, uint64_t nr, int64_t fd)
{
	uint32_t n = ADDRESS_ROOM;

	if (GATE3(nr, fd, record_event_place(r), &n) >= 0 && n >= 2 && n <= ADDRESS_ROOM)
		record_event_piece(r, arg, n);
}

/* In the place of one that was begun, and that nobody has seen: most need no more than a few bytes. */
static struct log_record *wider(struct thread *t)
{
	return record_event_begin(t, RECORD_FD, 1, PIECES_ROOM);
}

static void tell(struct thread *t, int32_t fd)
{
	uint64_t about[32] = {0};
	char path[32], *p = path;
	struct log_record *r;
	int64_t here = fd, unknown;
	uint64_t kind;

	if (t->process->channel && (here = delegate_borrow(t, (uint32_t)fd)) < 0)
		return;
	unknown = GATE6(NR_statx, here, "", EMPTY_PATH_, WANTS_INODE, about, 0);
	kind = about[3] >> 32 & KIND;
	r = record_event_begin(t, RECORD_FD, 1, unknown ? PIECES_ROOM : FEW_ROOM);
	if (r && (unknown || !add_known(r, here, about))) {
		p = start_append(p, "/proc/self/fd/");
		p = start_decimal(p, (uint32_t)here);
		*p = 0;
		r = unknown ? r : wider(t);
		if (r)
			add_link(r, path);
	}
	if (r) {
		r->args[0] = (uint32_t)fd;
		if (unknown || kind == SOCKET) {
			event_address(r, 1, NR_getsockname, here);
			event_address(r, 2, NR_getpeername, here);
		}
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
	struct log_record *r = record_event_begin(t, RECORD_FD, 1, FEW_ROOM);
	int64_t n;

	if (!r)
		return;
	n = GATE2(NR_getcwd, record_event_place(r), TEXT_ROOM);
	if (n > 1 && *record_event_place(r) == '/') {
		record_event_piece(r, 0, (uint64_t)n - 1);
	} else { /* long, removed, or out of reach */
		r = wider(t);
		if (!r)
			return;
		add_link(r, "/proc/self/cwd");
	}
	r->args[0] = (uint64_t)AT_FDCWD_;
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

/* What runs here, by what execve has laid on its stack: the strings of argv, one behind the other. */
void event_argv(struct thread *t, const uint64_t *sp)
{
	const char *first = (const char *)sp[1], *last = (const char *)sp[sp[0]];
	uint64_t n = (uint64_t)(last - first);
	struct log_record *r;

	if (!sp[0])
		return;
	while (n < ARGV_ROOM && first[n])
		n++;
	n++;
	n = n < ARGV_ROOM ? n : ARGV_ROOM;
	r = record_event_begin(t, RECORD_PROGRAM, 0, (uint32_t)n + 16);
	if (!r)
		return;
	memcpy(record_event_place(r), first, n);
	record_event_piece(r, 0, n);
	record_event_end(t, r);
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
