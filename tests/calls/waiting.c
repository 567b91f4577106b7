/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for many: poll, ppoll, select, pselect6, epoll in its modes,
 * eventfd, timerfd, inotify; timeouts and masks.
 */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static volatile sig_atomic_t signals;

static void on_signal(int signal)
{
	(void)signal;
	signals++;
}

static void polling(void)
{
	struct pollfd *set = tail_alloc(3 * sizeof *set);
	int p[2], null = MUST(open("/dev/null", O_RDWR));
	long before;

	MUST(pipe(p));
	set[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
	set[1] = (struct pollfd){.fd = 77, .events = POLLIN};
	set[2] = (struct pollfd){.fd = -5, .events = POLLIN, .revents = 9};
	report("poll with a bad descriptor", poll(set, 3, 1000));
	printf("events: %x %x %x\n", set[0].revents, set[1].revents, set[2].revents);
	before = now_ms();
	report("poll timeout", poll(set, 1, 60));
	check("waited", now_ms() - before >= 59);
	MUST(write(p[1], "x", 1));
	set[1] = (struct pollfd){.fd = p[1], .events = POLLOUT};
	set[2] = (struct pollfd){.fd = null, .events = POLLIN | POLLOUT};
	report("poll ready", poll(set, 3, -1));
	printf("events: %x %x %x\n", set[0].revents, set[1].revents, set[2].revents);
	close(p[1]);
	report("hang-up", poll(set, 1, -1));
	printf("events: %x\n", set[0].revents);
	report("poll nothing", poll(NULL, 0, 10));
	report("poll unmapped", poll(nowhere(), 1, 0));
	report("poll too many", poll(set, 1u << 30, 0));
	close(p[0]);
	close(null);
}

static void masks(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct timespec second = {1, 0};
	sigset_t block, none;
	struct pollfd set;
	fd_set readable;
	int p[2], queue;
	pid_t child;

	MUST(pipe(p));
	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	set = (struct pollfd){.fd = p[0], .events = POLLIN};
	report("blocked signal does not end poll", poll(&set, 1, 20));
	report("ppoll lets it in", ppoll(&set, 1, &second, &none));
	printf("handled: %d\n", (int)signals);
	raise(SIGUSR1);
	FD_ZERO(&readable);
	FD_SET(p[0], &readable);
	report("pselect lets it in", pselect(p[0] + 1, &readable, NULL, NULL, &second, &none));
	printf("handled: %d\n", (int)signals);
	check("mask is back", (sigprocmask(SIG_BLOCK, NULL, &none), sigismember(&none, SIGUSR1)));
	sigemptyset(&none);
	queue = MUST(epoll_create1(0));
	raise(SIGUSR1);
	report("epoll_pwait lets it in", epoll_pwait(queue, &(struct epoll_event){0}, 1, 1000, &none));
	printf("handled: %d\n", (int)signals);
	child = fork();
	if (!child) {
		sleep_ms(50);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	report("ppoll and a signal that comes", ppoll(&set, 1, NULL, &none));
	printf("handled: %d\n", (int)signals);
	reap("child", child);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	report("ppoll data and mask", (write(p[1], "x", 1), ppoll(&set, 1, NULL, &block)));
	report("ppoll bad mask size", syscall(SYS_ppoll, &set, 1, NULL, &block, 3));
	close(queue);
	close(p[0]);
	close(p[1]);
}

static void selecting(void)
{
	struct timeval timeout = {5, 0};
	fd_set readable, writable;
	int p[2];

	MUST(pipe(p));
	FD_ZERO(&readable);
	FD_ZERO(&writable);
	FD_SET(p[0], &readable);
	FD_SET(p[1], &writable);
	report("select", select(p[1] + 1, &readable, &writable, NULL, &timeout));
	printf("set: %d %d\n", !!FD_ISSET(p[0], &readable), !!FD_ISSET(p[1], &writable));
	check("rest of the time", timeout.tv_sec == 4 || timeout.tv_sec == 5);
	FD_ZERO(&readable);
	FD_SET(p[0], &readable);
	timeout = (struct timeval){0, 30000};
	report("select timeout", select(p[0] + 1, &readable, NULL, NULL, &timeout));
	printf("set: %d time left: %ld\n", !!FD_ISSET(p[0], &readable), (long)timeout.tv_usec);
	FD_SET(60, &readable);
	report("select bad descriptor", select(61, &readable, NULL, NULL, &timeout));
	report("select negative", select(-1, NULL, NULL, NULL, &timeout));
	report("select unmapped", select(5, nowhere(), NULL, NULL, &timeout));
	report("select as sleep", select(0, NULL, NULL, NULL, &(struct timeval){0, 1000}));
	report("select set at the edge", select(8, tail_alloc(8), NULL, NULL, &(struct timeval){0, 0}));
	close(p[0]);
	close(p[1]);
}

static void events(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcdefull},
			*got = tail_alloc(2 * sizeof *got);
	int queue = report("epoll_create1", epoll_create1(EPOLL_CLOEXEC)), p[2], file;
	pid_t child;
	char byte;

	MUST(pipe(p));
	report("add", epoll_ctl(queue, EPOLL_CTL_ADD, p[0], tail_copy(&event, sizeof event)));
	report("add twice", epoll_ctl(queue, EPOLL_CTL_ADD, p[0], &event));
	report("wait nothing", epoll_wait(queue, got, 2, 20));
	MUST(write(p[1], "ab", 2));
	report("level", epoll_wait(queue, got, 2, 1000));
	check("data", got[0].data.u64 == event.data.u64 && got[0].events == EPOLLIN);
	report("level again", epoll_wait(queue, got, 1, 1000));
	event.events = EPOLLIN | EPOLLET;
	report("edge", epoll_ctl(queue, EPOLL_CTL_MOD, p[0], &event));
	report("edge once", epoll_wait(queue, got, 2, 1000));
	report("edge no more", epoll_wait(queue, got, 2, 20));
	MUST(write(p[1], "c", 1));
	report("edge anew", epoll_wait(queue, got, 2, 1000));
	event.events = EPOLLIN | EPOLLONESHOT;
	MUST(epoll_ctl(queue, EPOLL_CTL_MOD, p[0], &event));
	report("oneshot", epoll_wait(queue, got, 2, 1000));
	report("oneshot is over", epoll_wait(queue, got, 2, 20));
	MUST(epoll_ctl(queue, EPOLL_CTL_MOD, p[0], &event));
	report("armed again", epoll_wait(queue, got, 2, 1000));
	event.events = EPOLLIN;
	MUST(epoll_ctl(queue, EPOLL_CTL_MOD, p[0], &event));
	while (read(p[0], &byte, 1) == 1 && byte != 'c')
		;
	child = fork();
	if (!child) {
		sleep_ms(50);
		_exit(write(p[1], "x", 1) != 1);
	}
	report("waits for a child's write", epoll_wait(queue, got, 2, 5000));
	reap("child", child);
	report("delete", epoll_ctl(queue, EPOLL_CTL_DEL, p[0], NULL));
	report("delete again", epoll_ctl(queue, EPOLL_CTL_DEL, p[0], NULL));
	report("itself", epoll_ctl(queue, EPOLL_CTL_ADD, queue, &event));
	report("bad descriptor", epoll_ctl(queue, EPOLL_CTL_ADD, 77, &event));
	file = MUST(open("file", O_CREAT | O_RDWR, 0600));
	report("a file", epoll_ctl(queue, EPOLL_CTL_ADD, file, &event));
	report("event unmapped", epoll_ctl(queue, EPOLL_CTL_ADD, p[0], nowhere()));
	report("wait none", epoll_wait(queue, got, 0, 0));
	report("wait not epoll", epoll_wait(p[0], got, 1, 0));
	MUST(epoll_ctl(queue, EPOLL_CTL_ADD, p[0], &event));
	report("wait unmapped", epoll_wait(queue, nowhere(), 1, 0));
	report("closing removes", (close(p[0]), epoll_wait(queue, got, 2, 10)));
	close(p[1]);
	close(file);
	close(queue);
}

static void counters(void)
{
	struct itimerspec soon = {{0, 10000000}, {0, 10000000}}, left;
	uint64_t value = 5, *edge = tail_alloc(8);
	int fd = report("eventfd", eventfd(0, EFD_NONBLOCK));

	report("empty", read(fd, edge, 8));
	report("add", write(fd, &value, 8));
	report("add", write(fd, &value, 8));
	report("short read", read(fd, edge, 4));
	report("read", read(fd, edge, 8));
	printf("sum: %llu\n", (unsigned long long)*edge);
	value = ~0ull;
	report("all ones", write(fd, &value, 8));
	close(fd);
	fd = report("semaphore", eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
	report("take", read(fd, edge, 8));
	report("take", read(fd, edge, 8));
	report("no more", read(fd, edge, 8));
	close(fd);
	fd = report("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	report("not armed", timerfd_gettime(fd, tail_alloc(sizeof left)));
	report("arm", timerfd_settime(fd, 0, tail_copy(&soon, sizeof soon), NULL));
	report("read waits", read(fd, edge, 8));
	check("expired", *edge >= 1);
	sleep_ms(50);
	report("read", read(fd, edge, 8));
	check("several times", *edge >= 3);
	report("disarm", timerfd_settime(fd, 0, &(struct itimerspec){0}, &left));
	check("interval", left.it_interval.tv_nsec == 10000000);
	report("arm unmapped", timerfd_settime(fd, 0, nowhere(), NULL));
	close(fd);
}

static void watching(void)
{
	char room[1024] __attribute__((aligned(8)));
	int fd = report("inotify", inotify_init1(IN_NONBLOCK)), watch;
	struct inotify_event *event;
	long got;

	MUST(mkdir("watched", 0700));
	watch = report("watch", inotify_add_watch(fd, tail_string("watched"), IN_CREATE | IN_DELETE | IN_CLOSE_WRITE));
	report("watch ENOENT", inotify_add_watch(fd, "missing", IN_CREATE));
	report("nothing yet", read(fd, room, sizeof room));
	make_file("watched/a", "1");
	MUST(unlink("watched/a"));
	report("buffer too small", read(fd, room, 4));
	got = report("read", read(fd, room, sizeof room));
	for (long at = 0; at < got; at += (long)(sizeof *event + event->len)) {
		event = (struct inotify_event *)(room + at);
		printf("event %x %s\n", event->mask, event->name);
	}
	report("remove", inotify_rm_watch(fd, watch));
	report("remove again", inotify_rm_watch(fd, watch));
	close(fd);
}

int main(void)
{
	begin();
	polling();
	masks();
	selecting();
	events();
	counters();
	watching();
	return 0;
}
