/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that a rule judges by what their descriptor stands for, while files are renamed and descriptors replaced: here
 * a write of an "x" returns 77 if the file is below DIR/hit, and readlink says what it ought to return.
 *
 *	names random DIR SEED STEPS    three processes in turn; after each step each of them writes to all it has
 *	names storm DIR FLIPS          threads of two processes write while others replace and rename
 *	names sharing DIR              descriptors that are shared, or not, in uncommon ways
 *	names told DIR                 a write; whoever reads this pipe does something; a line from him, another write
 *
 * Prints what was wrong, if anything, then how many writes there were.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIT = 77, LAST = 24, PROCESSES = 3, FILES = 4, SLOT = 40 };

enum { REPLACED, RENAMED, CONSTANT, PARTS }; /* of the storm: descriptors from SLOT on, the last one further up */

static struct shared {
	_Atomic unsigned turn, version, over;
	_Atomic unsigned long writes, wrong;
	_Atomic int was[PARTS], will[PARTS]; /* a hit: before, and after what is under way in an odd version */
} *all;

static const char *dir;
static char last[200]; /* step */

static char *path(const char *below, int n)
{
	static char room[4][300];
	static int next;
	char *to = room[next++ % 4];

	snprintf(to, sizeof *room, "%s/%s/%d", dir, below, n);
	return to;
}

static int stands_for_hit(int fd)
{
	char name[64], link[400], hit[320];
	ssize_t n;

	snprintf(name, sizeof name, "/proc/thread-self/fd/%d", fd);
	n = readlink(name, link, sizeof link - 1);
	if (n < 0)
		return 0;
	link[n] = 0;
	snprintf(hit, sizeof hit, "%s/hit/", dir);
	return !strncmp(link, hit, strlen(hit));
}

static void judge(int fd, const char *when)
{
	int want = stands_for_hit(fd);
	long r = syscall(SYS_write, fd, "x", 1);

	all->writes++;
	if ((r == HIT) == want)
		return;
	all->wrong++;
	printf("%s: descriptor %d of %d: %ld, wanted %s\n", when, fd, getpid(), r, want ? "77" : "another");
	fflush(stdout);
}

static void judge_all(void)
{
	for (int fd = 3; fd <= LAST; fd++)
		judge(fd, last);
}

static int opened(const char *below, int n)
{
	return open(path(below, n), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* ---- random ------------------------------------------------------------------------------------------------------ */

static unsigned seed;

static int any(int n)
{
	seed = seed * 1103515245 + 12345;
	return (int)(seed >> 16) % n;
}

static const char *any_place(void)
{
	static const char *const places[] = {"hit", "miss", "hit/deep", "miss/deep"};

	return places[any(4)];
}

static int line[2]; /* of sockets, between all processes */

static void send_any(void)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {"y", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = 3 + any(LAST - 2);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	sendmsg(line[0], &m, MSG_DONTWAIT);
}

static void receive_any(void)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

	recvmsg(line[1], &m, MSG_DONTWAIT);
}

static void step(void)
{
	int kind = any(19), a = 3 + any(LAST - 2), b = 3 + any(LAST - 2), n = any(FILES), k = any(FILES), fd;
	const char *from = any_place(), *to = any_place();
	pid_t child;

	snprintf(last, sizeof last, "step %d of %d: %d %d %s/%d %s/%d", kind, getpid(), a, b, from, n, to, k);
	switch (kind) {
	case 0: case 1: case 2: case 3:
		fd = opened(from, n);
		if (fd > LAST)
			close(fd);
		break;
	case 4: case 5:
		close(a);
		break;
	case 6:
		dup2(a, b);
		break;
	case 7:
		dup3(a, b, O_CLOEXEC);
		break;
	case 8:
		fd = fcntl(a, F_DUPFD, 3);
		if (fd > LAST)
			close(fd);
		break;
	case 9: case 10:
		rename(path(from, n), path(to, k));
		break;
	case 11:
		renameat2(AT_FDCWD, path(from, n), AT_FDCWD, path(to, k), RENAME_EXCHANGE);
		break;
	case 12: /* a whole directory, and back or not */
		renameat2(AT_FDCWD, path("hit", 9), AT_FDCWD, path("miss", 9), any(2) ? RENAME_EXCHANGE : 0);
		break;
	case 13:
		fd = openat(AT_FDCWD, path(any(2) ? "hit/9" : "miss/9", n), O_RDWR | O_CREAT, 0600);
		if (fd > LAST)
			close(fd);
		break;
	case 14:
		unlink(path(from, n));
		break;
	case 15:
		link(path(from, n), path(to, k));
		break;
	case 16:
		syscall(SYS_close_range, a, a + any(3), 0);
		break;
	case 17:
		any(2) ? send_any() : receive_any();
		break;
	case 18: /* what a child does with its own descriptors is nothing to us, but its renames are */
		child = any(2) ? fork() : vfork();
		if (!child) {
			dup2(a, b);
			judge(b, "child");
			rename(path(from, n), path(to, k));
			judge(a, "child");
			_exit(0);
		}
		waitpid(child, NULL, 0);
		break;
	}
}

static void take_turns(unsigned me, unsigned steps)
{
	for (;;) {
		unsigned turn = all->turn;

		if (turn / PROCESSES / PROCESSES >= steps)
			return;
		if (turn % PROCESSES != me) {
			sched_yield();
			continue;
		}
		if (turn / PROCESSES % PROCESSES == me)
			step();
		judge_all();
		all->turn++;
	}
}

static void random_steps(unsigned from, unsigned steps)
{
	int low[2];

	mkdir(path("hit", 9), 0700);
	mkdir(path("miss", 9), 0700);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, low))
		abort();
	line[0] = fcntl(low[0], F_DUPFD, SLOT);
	line[1] = fcntl(low[1], F_DUPFD, SLOT);
	close(low[0]);
	close(low[1]);
	for (int i = 0; i < 6; i++)
		opened(i % 2 ? "hit" : "miss", i % FILES);
	for (unsigned me = 1; me < PROCESSES; me++)
		if (!fork()) {
			seed = from * 7 + me;
			take_turns(me, steps);
			_exit(0);
		}
	seed = from * 7;
	take_turns(0, steps);
	while (wait(NULL) > 0)
		;
}

/* ---- storm ------------------------------------------------------------------------------------------------------- */

static void check_slot(int part, unsigned *seen)
{
	unsigned before = all->version, now;
	int hit = syscall(SYS_write, part == CONSTANT ? SLOT + 64 : SLOT + part, "x", 1) == HIT;
	int was = all->was[part], will = all->will[part];

	all->writes++;
	now = all->version;
	if (before != now)
		return;
	if (now & 1 && was != will) { /* once it is as it will be, it stays so */
		if (hit == will)
			seen[part] = now;
		if (hit == will || seen[part] != now)
			return;
	} else if (hit == will) {
		return;
	}
	all->wrong++;
	printf("version %u: part %d is %s\n", now, part, hit ? "a hit" : "no hit");
	fflush(stdout);
}

static void *write_slots(void *from)
{
	unsigned seen[PARTS] = {0};

	while (!all->over)
		for (int part = (int)(intptr_t)from; part < PARTS; part++)
			check_slot(part, seen);
	return NULL;
}

static void replace(int fd, int closes)
{
	int other;

	if (!closes) {
		dup2(fd, SLOT);
		return;
	}
	other = dup(fd);
	close(SLOT); /* for a moment the number is anybody's */
	dup3(other, SLOT, O_CLOEXEC);
	close(other);
}

static void storm(unsigned flips)
{
	int hit = opened("hit", 0), miss = opened("miss", 0), is_hit[2] = {0, 0};
	pthread_t threads[2];
	pid_t child;

	dup2(miss, SLOT + REPLACED);
	dup2(opened("miss", 1), SLOT + RENAMED);
	dup2(opened("miss/deep", 12345), SLOT + 64);
	child = fork();
	if (!child) { /* of the renamed file it has a descriptor of its own; its slot stays what it was */
		write_slots((void *)RENAMED);
		_exit(0);
	}
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_slots, NULL);
	for (unsigned i = 0; i < flips; i++) {
		int part = i / 3 % 2, now = is_hit[part] ^= 1;

		all->version++;
		all->will[part] = now;
		if (part == REPLACED)
			replace(now ? hit : miss, i % 3 == 0);
		else
			rename(path(now ? "miss" : "hit", 1), path(now ? "hit" : "miss", 1));
		all->version++;
		all->was[part] = now;
		for (unsigned long had = all->writes; all->writes < had + i % 20;)
			sched_yield();
	}
	all->over = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	waitpid(child, NULL, 0);
}

/* ---- sharing ----------------------------------------------------------------------------------------------------- */

static int a_hit, a_miss;

static void both(const char *when)
{
	judge(SLOT, when);
	judge(SLOT + 1, when);
	judge(SLOT, when);
}

static void *with_its_own(void *how)
{
	both("thread before");
	if (how)
		syscall(SYS_close_range, 1000, 1001, CLOSE_RANGE_UNSHARE);
	else
		unshare(CLONE_FILES);
	dup2(a_hit, SLOT);
	dup2(a_miss, SLOT + 1);
	both("thread");
	dup2(a_miss, SLOT);
	both("thread again");
	return NULL;
}

static int child(void *unused)
{
	(void)unused;
	both("child before");
	dup2(a_hit, SLOT);
	both("child");
	close(SLOT + 1);
	opened("hit", 2);
	both("child again");
	_exit(0);
}

static void in_child(int flags)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t pid = clone(child, stack + sizeof stack, flags | SIGCHLD, NULL);

	if (pid < 0) /* the route `proxy` has no such thing */
		return;
	both("beside a child");
	waitpid(pid, NULL, 0);
	both("after a child");
}

/* A call by the other machine's way in. */
static long foreign(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "0"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return r;
}

/* A thread of the kernel's closes the slot, and no call says so. Where there is no such ring, it is closed as usual. */
static void close_by_ring(int fd)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 10000};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &p);
	unsigned *sq;
	struct io_uring_sqe *e;

	both("before a ring closes");
	if (ring < 0) {
		close(fd);
		return;
	}
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, 3, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	e = mmap(NULL, p.sq_entries * sizeof *e, 3, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || e == MAP_FAILED)
		abort();
	*e = (struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = fd};
	sq[p.sq_off.array / 4] = 0;
	__atomic_store_n(sq + p.sq_off.tail / 4, 1, __ATOMIC_RELEASE);
	while (fcntl(fd, F_GETFD) >= 0) {
		atomic_thread_fence(memory_order_seq_cst);
		if (*(volatile unsigned *)(sq + p.sq_off.flags / 4) & IORING_SQ_NEED_WAKEUP)
			syscall(SYS_io_uring_enter, ring, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
		sched_yield();
	}
}

static void reset(void)
{
	dup2(a_miss, SLOT);
	dup2(a_hit, SLOT + 1);
	both("reset");
}

static void sharing(const char *what)
{
	pthread_t thread;

	a_hit = opened("hit", 0);
	a_miss = opened("miss", 0);
	reset();
	if (!strcmp(what, "vfork")) {
		in_child(CLONE_VM | CLONE_VFORK);
		in_child(0);
		in_child(CLONE_FS);
	} else if (!strcmp(what, "files")) {
		in_child(CLONE_FILES);
	} else if (!strcmp(what, "memory")) {
		in_child(CLONE_VM | CLONE_VFORK | CLONE_FILES);
	} else if (!strcmp(what, "unshare") || !strcmp(what, "range")) {
		pthread_create(&thread, NULL, with_its_own, *what == 'r' ? (void *)1 : NULL);
		pthread_join(thread, NULL);
		both("after a thread");
	} else if (!strcmp(what, "ring")) {
		close_by_ring(SLOT);
		fcntl(a_hit, F_DUPFD, SLOT); /* the number is free again */
		both("ring");
	} else if (!strcmp(what, "foreign")) {
		foreign(63, a_hit, SLOT, 0); /* dup2 */
		both("foreign");
		foreign(6, SLOT, 0, 0); /* close */
		both("foreign again");
	} else if (!strcmp(what, "chroot")) {
		if (!chroot(dir))
			both("chroot");
	}
	both("at the end");
	reset();
}

/* ---- told -------------------------------------------------------------------------------------------------------- */

static void told(void)
{
	int fd = opened("miss", 0);
	char byte;

	for (int i = 0; i < 3; i++) {
		judge(fd, "told");
		fsync(fd); /* a handler may be listening */
		judge(fd, "told, after fsync");
		if (syscall(SYS_write, 1, ".", 1) != 1 || read(0, &byte, 1) != 1)
			break;
		judge(fd, "told, later");
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOFBF, 4096);
	dir = argv[2];
	all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!strcmp(argv[1], "random"))
		random_steps((unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
	else if (!strcmp(argv[1], "storm"))
		storm((unsigned)atoi(argv[3]));
	else if (!strcmp(argv[1], "sharing"))
		sharing(argv[3]);
	else
		told();
	printf("%lu wrong of %s\n", all->wrong, all->writes ? "some" : "none");
	return 0;
}
