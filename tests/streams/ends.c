/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a script of socket calls by several actors (processes, threads) that hold the two ends of one connection:
 *
 *   ends tcp4|tcp6|path|abstract|pair|pipe[+one|+nonblock] SCRIPT
 *
 * Each line of the script is `ACTOR OPERATION ARGUMENTS`, as `0 send 0 100 w -` or `1 &recvall 5 70000 r -`. One is
 * made after the other, by whoever's it is; with & the next one begins as soon as this one does. What each returned is
 * printed in the script's order. Actor 0 has one end of the connection, actor 1 the other; with +one these are threads
 * of one process.
 */
#include "operations.h"
#include "pages.h"
#include "rings.h"

struct shared *shared;
int are_pipes;

static struct step steps[STEPS];
static int step_count;
static const char *kind, *script;
static const char *self;

static void broken_pipe(int number)
{
	(void)number;
	pipes_broken++;
}

static void load(void)
{
	FILE *f = fopen(script, "r");
	char line[128];

	must(f != NULL, script);
	while (fgets(line, sizeof line, f) && step_count < STEPS) {
		struct step *s = &steps[step_count];
		char op[17];

		strcpy(s->how, "-");
		strcpy(s->flags, "-");
		if (sscanf(line, "%d %16s %ld %ld %7s %7s", &s->actor, op, &s->a, &s->b, s->how, s->flags) < 2)
			continue;
		s->is_async = op[0] == '&';
		strncpy(s->op, op + s->is_async, sizeof s->op - 1);
		step_count++;
	}
	fclose(f);
}

static void next_turn(uint32_t i)
{
	__atomic_store_n(&shared->turn, i + 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
}

static void wait_turn(uint32_t i)
{
	uint32_t now;

	while ((now = __atomic_load_n(&shared->turn, __ATOMIC_SEQ_CST)) != i)
		syscall(SYS_futex, &shared->turn, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void play(int actor, int from);

static void *thread(void *argument)
{
	long both = (long)argument;

	play((int)(both >> 32), (int)both);
	return NULL;
}

static void begin_thread(int actor, int from)
{
	pthread_t t;

	must(!pthread_create(&t, NULL, thread, (void *)((long)actor << 32 | from)), "thread");
	pthread_detach(t);
}

static void again(int actor, int from)
{
	char number[2][16];
	char *argv[] = {(char *)self, (char *)kind, (char *)script, number[0], number[1], NULL};

	snprintf(number[0], sizeof number[0], "%d", actor);
	snprintf(number[1], sizeof number[1], "%d", from);
	execv(self, argv);
	must(0, "exec");
}

static void end_of(int actor)
{
	struct pollfd p = {(int)syscall(SYS_pidfd_open, shared->pids[actor], 0), POLLIN, 0};

	must(p.fd >= 0, "pidfd");
	shared->killed[actor] = 1;
	kill(shared->pids[actor], SIGKILL);
	poll(&p, 1, -1);
	close(p.fd);
}

static void make_step(int i, const struct step *s, char *result, size_t room)
{
	int slot = (int)s->a, broken = pipes_broken, on = (int)s->b, error = 0;
	socklen_t len = sizeof error;
	struct linger at_once = {1, 0};
	struct pollfd look = {SOCKET(slot), POLLIN | POLLOUT | POLLRDHUP, 0};
	long r = 0;

#define IS(name) (!strcmp(s->op, name))
	errno = 0;
	if (IS("send"))
		r = send_once(slot, (size_t)s->b, s->how[0], flags_of(s->flags));
	else if (IS("recv"))
		r = receive_once(slot, (size_t)s->b, s->how[0], flags_of(s->flags));
	else if (IS("sendall") || IS("recvall")) {
		move_all(s, IS("sendall"), result, room);
		return;
	} else if (IS("fill")) {
		fill(s, result, room);
		return;
	} else if (IS("drain")) {
		drain(s, result, room);
		return;
	} else if (IS("sendfile")) {
		from_file(s, result, room);
		return;
	} else if (IS("splice")) {
		spliced_in(s, result, room);
		return;
	} else if (IS("unsplice") || IS("tee")) {
		spliced_out(s, IS("tee"), result, room);
		return;
	} else if (IS("vmsplice")) {
		from_memory(s, result, room);
		return;
	} else if (IS("avail")) {
		r = ioctl(SOCKET(slot), FIONREAD, &on);
		r = r ? r : on;
	} else if (IS("poll")) {
		r = poll(&look, 1, 0);
		r = r < 0 ? r : look.revents;
	} else if (IS("error")) {
		r = getsockopt(SOCKET(slot), SOL_SOCKET, SO_ERROR, &error, &len);
		r = r ? r : error;
	} else if (IS("nonblock"))
		r = fcntl(SOCKET(slot), F_SETFL, on ? O_NONBLOCK : 0);
	else if (IS("direct"))
		r = fcntl(SOCKET(slot), F_SETFL, on ? O_DIRECT : 0);
	else if (IS("fionbio"))
		r = ioctl(SOCKET(slot), FIONBIO, &on);
	else if (IS("rcvtimeo"))
		r = set_timeout(slot, SO_RCVTIMEO, s->b);
	else if (IS("sndtimeo"))
		r = set_timeout(slot, SO_SNDTIMEO, s->b);
	else if (IS("rcvlowat"))
		r = setsockopt(SOCKET(slot), SOL_SOCKET, SO_RCVLOWAT, &on, sizeof on);
	else if (IS("linger"))
		r = setsockopt(SOCKET(slot), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	else if (IS("shutdown"))
		r = shutdown(SOCKET(slot), on);
	else if (IS("close"))
		r = close(SOCKET(slot));
	else if (IS("dup"))
		r = dup2(SOCKET(slot), SOCKET(s->b));
	else if (IS("dupfd"))
		r = fcntl(SOCKET(slot), F_DUPFD, SOCKET(s->b));
	else if (IS("give"))
		give(slot, (int)s->b);
	else if (IS("take"))
		take(slot, s->actor);
	else if (IS("kill"))
		end_of(slot);
	else if (IS("settle"))
		settle(slot);
	else if (IS("thread"))
		begin_thread(slot, i + 1);
	else if (IS("rings"))
		say_rings(s->actor);
	else if (IS("fork")) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (!pid) {
			play(slot, i + 1);
			_exit(0);
		}
		shared->pids[slot] = pid;
	} else {
		must(0, s->op);
	}
	say(result, room, r, broken);
}

/* Until the actor's last step. */
static void play(int actor, int from)
{
	for (int i = from; i < step_count; i++) {
		const struct step *s = &steps[i];

		if (s->actor != actor)
			continue;
		wait_turn((uint32_t)i);
		if (!strcmp(s->op, "exit")) {
			int is_thread = s->a == 1;

			strcpy(shared->results[i], "exit");
			if (is_thread) {
				next_turn((uint32_t)i);
				return;
			}
			/* The next step is made when our descriptors are closed. */
			for (int slot = 0; slot < 30; slot++)
				close(SOCKET(slot));
			next_turn((uint32_t)i);
			_exit(0);
		}
		if (!strcmp(s->op, "exec")) {
			strcpy(shared->results[i], "exec");
			again(actor, i + 1);
		}
		if (s->is_async)
			next_turn((uint32_t)i);
		make_step(i, s, shared->results[i], sizeof shared->results[i]);
		if (!s->is_async)
			next_turn((uint32_t)i);
	}
	for (;;) /* it has no exit, and so will be killed */
		pause();
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static int listens(struct sockaddr_storage *at, socklen_t *len)
{
	int is_tcp = !strncmp(kind, "tcp", 3), fd;
	struct sockaddr_un *un = (void *)at;
	struct sockaddr_in *in4 = (void *)at;
	struct sockaddr_in6 *in6 = (void *)at;

	memset(at, 0, sizeof *at);
	if (!strncmp(kind, "tcp4", 4)) {
		*in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		*len = sizeof *in4;
	} else if (is_tcp) {
		*in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
		*len = sizeof *in6;
	} else {
		un->sun_family = AF_UNIX;
		*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				   (size_t)sprintf(un->sun_path + (kind[0] == 'a'), "ends-%d", getpid()) + 1);
	}
	fd = socket(at->ss_family, SOCK_STREAM, 0);
	must(fd >= 0 && !bind(fd, (void *)at, *len) && !listen(fd, 8), "listen");
	if (is_tcp) {
		*len = sizeof *at;
		must(!getsockname(fd, (void *)at, len), "getsockname");
	}
	return fd;
}

/* Small packets that wait for others would make results depend on time. */
static void at_once(int fd)
{
	int one = 1;

	if (!strncmp(kind, "tcp", 3))
		must(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "nodelay");
}

static void put_at(int fd, int slot)
{
	at_once(fd);
	must(dup2(fd, SOCKET(slot)) == SOCKET(slot), "dup2");
	close(fd);
}

static void connects(const struct sockaddr_storage *at, socklen_t len)
{
	int fd = socket(at->ss_family, SOCK_STREAM, 0);

	must(fd >= 0 && !connect(fd, (const void *)at, len), "connect");
	put_at(fd, 0);
}

/* Those of an end: the socket, or one pipe's and the other one's. */
static void let_go(int end)
{
	close(SOCKET(5 * end));
	if (are_pipes)
		close(SOCKET(20 + 5 * end));
}

static void ready(uint32_t n)
{
	while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < n)
		sched_yield();
}

static void two_processes(int listener, const struct sockaddr_storage *at, socklen_t len)
{
	for (int actor = 0; actor < 2; actor++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (pid) {
			shared->pids[actor] = pid;
			continue;
		}
		if (listener < 0)
			let_go(!actor);
		else if (actor)
			put_at(accept(listener, NULL, NULL), 5);
		else
			connects(at, len);
		if (listener >= 0)
			close(listener);
		__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
		play(actor, 0);
		_exit(0);
	}
	if (listener < 0) {
		let_go(0);
		let_go(1);
	}
	ready(2);
	close(listener);
}

static void one_process(int listener, const struct sockaddr_storage *at, socklen_t len)
{
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid) {
		shared->pids[0] = shared->pids[1] = pid;
		close(listener);
		if (listener < 0) {
			let_go(0);
			let_go(1);
		}
		ready(1);
		return;
	}
	if (listener >= 0) {
		connects(at, len);
		put_at(accept(listener, NULL, NULL), 5);
		close(listener);
	}
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
	begin_thread(1, 0);
	play(0, 0);
	_exit(0);
}

static void print(void)
{
	for (int i = 0; i < step_count; i++)
		printf("%3d: %d %s%s %ld %ld %s %s = %s\n", i, steps[i].actor, steps[i].is_async ? "&" : "",
		       steps[i].op, steps[i].a, steps[i].b, steps[i].how, steps[i].flags, shared->results[i]);
	fflush(stdout);
}

static void stuck(int number)
{
	(void)number;
	printf("stuck at step %u\n", shared->turn);
	print();
	for (int i = 0; i < ACTORS; i++)
		if (shared->pids[i] > 0)
			kill(shared->pids[i], SIGKILL);
	_exit(98);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage at;
	socklen_t len = 0;
	int pair[2], listener = -1, status;
	pid_t pid;
	struct sigaction sa = {.sa_handler = broken_pipe};

	must(argc > 2, "usage: ends KIND SCRIPT");
	self = argv[0];
	kind = argv[1];
	script = argv[2];
	are_pipes = !strncmp(kind, "pipe", 4);
	load();
	sigaction(SIGPIPE, &sa, NULL);
	if (argc == 3)
		must(dup2(memfd_create("shared", 0), SHARED_FD) == SHARED_FD &&
			     !ftruncate(SHARED_FD, sizeof *shared),
		     "memfd");
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	must(shared != MAP_FAILED, "mmap");
	if (argc > 3) { /* the next image of an actor */
		next_turn((uint32_t)atoi(argv[4]) - 1);
		play(atoi(argv[3]), atoi(argv[4]));
		return 0;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < ACTORS; i++) {
		must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
		must(dup2(pair[0], MAIL + 2 * i) > 0 && dup2(pair[1], MAIL + 2 * i + 1) > 0, "dup2");
		close(pair[0]);
		close(pair[1]);
	}
	shared->turn = ~0u; /* nobody's, until both are there */
	if (are_pipes) {
		for (int way = 0; way < 2; way++) {
			must(!(strstr(kind, "+nonblock") ? pipe2(pair, O_NONBLOCK) : pipe(pair)), "pipe");
			put_at(pair[1], 20 + 5 * way);
			put_at(pair[0], 5 * !way);
		}
	} else if (!strncmp(kind, "pair", 4)) {
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
		put_at(pair[0], 0);
		put_at(pair[1], 5);
	} else {
		listener = listens(&at, &len);
	}
	if (strstr(kind, "+one"))
		one_process(listener, &at, len);
	else
		two_processes(listener, &at, len);
	signal(SIGALRM, stuck);
	alarm(20);
	next_turn(~0u);
	while ((pid = wait(&status)) > 0) {
		int actor = 0;

		while (actor < ACTORS && shared->pids[actor] != pid)
			actor++;
		if (status && !(actor < ACTORS && shared->killed[actor]))
			printf("actor %d: status %#x\n", actor, status);
	}
	print();
	if (kind[0] == 'p' && kind[2] == 't')
		unlink(((struct sockaddr_un *)&at)->sun_path);
	return 0;
}
