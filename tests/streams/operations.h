/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of ends.c that are about a socket: each makes its calls and says what they returned. */
#ifndef LSCA_TEST_OPERATIONS_H
#define LSCA_TEST_OPERATIONS_H

#include "ends.h"

static volatile int pipes_broken;
static __thread uint8_t *scratch;

static uint8_t *buffer(void)
{
	if (!scratch)
		scratch = malloc(MOST);
	return scratch;
}

static int flags_of(const char *text)
{
	int flags = 0;

	for (; *text; text++)
		flags |= *text == 'P' ? MSG_PEEK : *text == 'D' ? MSG_DONTWAIT : *text == 'W' ? MSG_WAITALL :
			 *text == 'N' ? MSG_NOSIGNAL : *text == 'M' ? MSG_MORE : 0;
	return flags;
}

/* MSG_DONTWAIT for pipes. Returns what was set, to be given back. */
static int wait_not(int slot, int flags)
{
	int old = fcntl(SOCKET(slot), F_GETFL);

	if (are_pipes)
		fcntl(SOCKET(slot), F_SETFL, flags);
	return old;
}

/* As three buffers, one of which is empty. */
static int split(uint8_t *b, size_t n, struct iovec *v)
{
	size_t first = n / 3;

	v[0] = (struct iovec){b, first};
	v[1] = (struct iovec){b + first, 0};
	v[2] = (struct iovec){b + first, n - first};
	return 3;
}

static long send_once(int slot, size_t n, char how, int flags)
{
	int way = WAY_OUT(slot);
	uint64_t at = shared->ways[way].sent;
	uint8_t *b = buffer();
	struct iovec v[3];
	struct msghdr m = {.msg_iov = v};
	long r;

	for (size_t i = 0; i < n; i++)
		b[i] = byte_at(way, at + i);
	m.msg_iovlen = (size_t)split(b, n, v);
	if (how == 'w')
		r = write(SOCKET(slot), b, n);
	else if (how == 'v')
		r = writev(SOCKET(slot), v, 3);
	else if (how == 'm')
		r = sendmsg(SOCKET(slot), &m, flags);
	else
		r = send(SOCKET(slot), b, n, flags);
	if (r > 0)
		__atomic_add_fetch(&shared->ways[way].sent, (uint64_t)r, __ATOMIC_SEQ_CST);
	return r;
}

/* Whether the bytes that came are the ones that were sent. */
static int is_right(int way, const uint8_t *b, long n)
{
	uint64_t at = shared->ways[way].received;

	for (long i = 0; i < n; i++)
		if (b[i] != byte_at(way, at + (uint64_t)i))
			return 0;
	return 1;
}

static int is_wrong; /* somewhere in a loop */

static long receive_once(int slot, size_t n, char how, int flags)
{
	int way = WAY_IN(slot);
	uint8_t *b = buffer();
	struct iovec v[3];
	struct sockaddr_storage name;
	struct msghdr m = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = v};
	long r;

	memset(b, 0xee, n < 4096 ? n : 4096);
	m.msg_iovlen = (size_t)split(b, n, v);
	if (how == 'r')
		r = read(SOCKET(slot), b, n);
	else if (how == 'v')
		r = readv(SOCKET(slot), v, 3);
	else if (how == 'm')
		r = recvmsg(SOCKET(slot), &m, flags);
	else
		r = recv(SOCKET(slot), b, n, flags);
	if (how == 'm' && r > 0 && m.msg_flags & ~MSG_CMSG_CLOEXEC)
		is_wrong = 2;
	if (r > 0 && !is_right(way, b, r))
		is_wrong = 1;
	if (r > 0 && !(flags & MSG_PEEK))
		__atomic_add_fetch(&shared->ways[way].received, (uint64_t)r, __ATOMIC_SEQ_CST);
	return r;
}

static void say(char *to, size_t room, long r, int broken)
{
	int error = errno;

	snprintf(to, room, "%ld%s%s%s%s", r, r < 0 ? " " : "", r < 0 ? strerrorname_np(error) : "",
		 pipes_broken != broken ? " SIGPIPE" : "", is_wrong == 2 ? " FLAGS" : is_wrong ? " WRONG" : "");
	is_wrong = 0;
}

/* All n of them, in as many calls as it takes. */
static void move_all(const struct step *s, int sends, char *result, size_t room)
{
	long done = 0, r = 0;
	int broken = pipes_broken;

	while (done < s->b) {
		r = sends ? send_once((int)s->a, (size_t)(s->b - done), s->how[0], flags_of(s->flags)) :
			    receive_once((int)s->a, (size_t)(s->b - done), s->how[0], flags_of(s->flags));
		if (r < 0 && errno == EAGAIN) {
			sched_yield();
			continue;
		}
		if (r <= 0)
			break;
		done += r;
	}
	if (done == s->b) {
		say(result, room, done, broken);
		return;
	}
	/* How many were under way when the other one left is nobody's promise. */
	say(result, room, r, broken);
}

static void fill(const struct step *s, char *result, size_t room)
{
	int broken = pipes_broken, flags = wait_not((int)s->a, O_NONBLOCK);
	long r, most = 0;

	do
		r = send_once((int)s->a, (size_t)s->b, are_pipes ? 'w' : 's', MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r > 0 && (most += r) < 64 << 20);
	say(result, room, r, broken);
	wait_not((int)s->a, flags);
}

static void drain(const struct step *s, char *result, size_t room)
{
	int way = WAY_IN((int)s->a), broken = pipes_broken, flags = wait_not((int)s->a, O_NONBLOCK);
	long r = 0;

	while (__atomic_load_n(&shared->ways[way].received, __ATOMIC_SEQ_CST) <
	       __atomic_load_n(&shared->ways[way].sent, __ATOMIC_SEQ_CST)) {
		r = receive_once((int)s->a, (size_t)s->b, s->how[0], MSG_DONTWAIT);
		if (r < 0 && errno == EAGAIN) {
			sched_yield();
			continue;
		}
		if (r <= 0)
			break;
	}
	say(result, room, r > 0 ? 1 : r, broken);
	wait_not((int)s->a, flags);
}

static int generated(int slot, size_t n)
{
	int fd = memfd_create("bytes", MFD_CLOEXEC), way = WAY_OUT(slot);
	uint8_t *b = buffer();

	for (size_t i = 0; i < n; i++)
		b[i] = byte_at(way, shared->ways[way].sent + i);
	must(write(fd, b, n) == (long)n && lseek(fd, 0, SEEK_SET) == 0, "memfd");
	return fd;
}

static void from_file(const struct step *s, char *result, size_t room)
{
	int fd = generated((int)s->a, (size_t)s->b), broken = pipes_broken;
	long r = sendfile(SOCKET(s->a), fd, NULL, (size_t)s->b);

	if (r > 0)
		__atomic_add_fetch(&shared->ways[WAY_OUT((int)s->a)].sent, (uint64_t)r, __ATOMIC_SEQ_CST);
	say(result, room, r, broken);
	close(fd);
}

static void give(int slot, int actor)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof control.room};
	int fd = SOCKET(slot);

	control.head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	must(sendmsg(MAIL + 2 * actor, &m, 0) == 1, "give");
}

static void take(int slot, int actor)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof control.room};
	int fd;

	must(recvmsg(MAIL + 2 * actor + 1, &m, 0) == 1, "take");
	memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
	must(dup2(fd, SOCKET(slot)) == SOCKET(slot), "take");
	close(fd);
}

/* A socket's limit of time; whether it was kept is seen by what a call returns, and not before. */
static int set_timeout(int slot, int name, long ms)
{
	struct timeval t = {ms / 1000, ms % 1000 * 1000};

	return setsockopt(SOCKET(slot), SOL_SOCKET, name, &t, sizeof t);
}

/*
 * Who was killed is missed by who sends to him, over a ring a moment later than over a socket. Afterwards both ways of
 * running have come to the same.
 */
static void settle(int slot)
{
	struct timespec ms = {0, 1000000};
	int error, i, flags;
	socklen_t len = sizeof error;
	char byte;

	if (are_pipes) {
		flags = wait_not(slot, O_NONBLOCK);
		for (i = 0; i < 3 || (slot >= 20 && i < 20 && write(SOCKET(slot), "", 1) == 1); i++)
			nanosleep(&ms, NULL);
		wait_not(slot, flags);
		return;
	}
	for (i = 0; i < 20 && (send(SOCKET(slot), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 || i < 3); i++)
		nanosleep(&ms, NULL);
	while (recv(SOCKET(slot), &byte, 1, MSG_DONTWAIT) > 0)
		continue;
	getsockopt(SOCKET(slot), SOL_SOCKET, SO_ERROR, &error, &len);
}

#endif
