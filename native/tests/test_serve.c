/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile slots for the handlers' server: test_serve [SECONDS]. Threads play programs, some of which keep to the rules
 * and must get the right answer each time, while others scribble over slots, bits, marks and bells of their own, die in
 * the middle, and answer requests with nonsense. The handler on the other side uses every operation; nothing that it
 * gets may lie outside of what it asked for, which the sanitizers and the checks here see.
 */
#define _GNU_SOURCE
#include "daemon/handlers/place.c"
#include "daemon/handlers/serve.c"
#define yield question_yield
#define wake question_wake
#include "daemon/handlers/question.c"
#undef wake

enum { HONEST = 4, HOSTILE = 3, SECONDS = 5, SPAN = ((sizeof(struct session) + 4095) & ~4095) + HANDLERS_SIZE };

static struct session *area;
static struct handlers *shared;
static uint32_t over;
static uint64_t exchanged, answered;

struct session *session_map(int fd, int writable)
{
	(void)fd;
	(void)writable;
	return area;
}

struct handlers *session_handlers(struct session *s, int fd)
{
	(void)fd;
	(void)s;
	return shared;
}

void session_unmap(struct session *s)
{
	(void)s;
}

void session_private(struct session *s)
{
	(void)s;
}

void session_tune(struct session *s)
{
	s->spare = 1;
	s->budget = 50000;
}

uint64_t clock_ns(int clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int futex_sleep(uint32_t *word, uint32_t value, long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	return syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0) ? -errno : 0;
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("test_serve: %s\n", what);
	fflush(stdout);
	abort();
}

static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- the handler ------------------------------------------------------------------------------------------------- */

static void begin(void *with)
{
	(void)with;
}

static void use_everything(struct question *q)
{
	static __thread char buffer[3 * ASK_MOVED];
	const uint8_t *copy;
	uint64_t args[CALL_ARGS];

	for (int i = 0; i < CALL_ARGS; i++) {
		int64_t n = question_copy(q, i, &copy);

		check(n <= ASK_INLINE, "a copy that is longer than its place");
		for (int64_t k = 0; k < n; k += 64)
			buffer[k % 64] = (char)copy[k];
	}
	check(question_read(q, q->args[0], buffer, sizeof buffer) <= (int64_t)sizeof buffer, "too much was read");
	check(question_string(q, q->args[1], buffer, 4096) < 4096, "a string that is too long");
	check(question_write(q, q->args[0], buffer, sizeof buffer) <= (int64_t)sizeof buffer, "too much was written");
	for (uint64_t n = 1; n < sizeof buffer; n *= 3)
		question_place(q, buffer, n);
	memcpy(args, q->args, sizeof args);
	question_open(q, 3, 0);
	question_proceed(q, args, 0);
	question_wait(q, 0.0001);
	question_is_interrupted(q);
	question_denies(q);
}

static void answer(void *with, struct question *q)
{
	(void)with;
	__atomic_add_fetch(&answered, 1, __ATOMIC_RELAXED);
	if (q->index < HONEST) {
		check(question_ask(q, ASK_READ, 77, 8) == (int64_t)(q->args[0] + 77), "honest words were twisted");
		question_answer(q, ANSWER_RETURN, (int64_t)(3 * q->args[0]));
		return;
	}
	use_everything(q);
	if (q->args[2] % 4)
		question_answer(q, (uint32_t)(q->args[2] % 3), 5);
	/* else it is as if it had raised: whoever calls us takes the slot back */
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static void post(uint32_t i)
{
	put_release(&handler_slot(shared, i)->word, ASK_POSTED);
	__atomic_fetch_or(&shared->pending[i / 64], 1ull << i % 64, __ATOMIC_ACQ_REL);
	add_one(&shared->bell);
	wake(&shared->bell, 1);
}

static void *honest(void *arg)
{
	uint32_t i = (uint32_t)(uintptr_t)arg;
	struct ask *s = handler_slot(shared, i);
	uint64_t token = i;

	while (!get_acquire(&over)) {
		uint32_t word = ASK_POSTED;

		raise_to(&shared->high, i + 1);
		put_release(&s->lease, i + 1);
		s->pid = (uint32_t)getpid();
		s->tid = (uint32_t)syscall(SYS_gettid);
		s->args[0] = token += 17;
		post(i);
		while (word != ASK_ANSWERED) {
			if (word == ASK_OP) {
				s->ret = (int64_t)(s->args[0] + s->a);
				put_release(&s->word, ASK_DONE);
				wake(&s->word, 1);
			}
			while ((word = get_acquire(&s->word)) != ASK_OP && word != ASK_ANSWERED)
				futex_sleep(&s->word, word, 10);
		}
		check(s->ret == (int64_t)(3 * token), "an answer that was another call's");
		put_release(&s->word, ASK_IDLE);
		put_release(&s->lease, 0);
		exchanged++;
	}
	return NULL;
}

/* All that a program can write to, but what honest ones need to be understood at all. */
static void *hostile(void *arg)
{
	uint64_t state = 88172645463325252ull + (uintptr_t)arg * 7919;

	while (!get_acquire(&over)) {
		uint32_t i = HONEST + (uint32_t)(chance(&state) % (ASK_SLOTS - HONEST));
		struct ask *s = handler_slot(shared, i);
		uint64_t *words = (uint64_t *)s;

		put_relaxed(&shared->high, chance(&state) % 2 ? ASK_SLOTS : 0xffffffff);
		for (int n = 0; n < 40; n++)
			words[chance(&state) % (ASK_HEAD / 8)] = chance(&state) >> chance(&state) % 64;
		if (chance(&state) % 2)
			s->extents[chance(&state) % CALL_ARGS].len = (uint32_t)(ASK_INLINE - chance(&state) % 32);
		put_relaxed(&s->pid, chance(&state) % 3 ? (uint32_t)getpid() : (uint32_t)chance(&state));
		post(i);
		for (int n = 0; n < 60; n++) {
			if (get_acquire(&s->word) == ASK_OP) {
				s->ret = (int64_t)(chance(&state) >> chance(&state) % 64);
				put_release(&s->word, chance(&state) % 8 ? ASK_DONE : (uint32_t)(chance(&state) % 9));
				wake(&s->word, 1);
			}
			if (!(chance(&state) % 8))
				put_release(&s->cancel, 1);
			sched_yield();
		}
		/* Nobody waits for it any more; a word that means nothing lets the server go on. */
		put_release(&s->word, ASK_LEFT);
		wake(&s->word, 1);
	}
	return NULL;
}

static void *sweep(void *arg)
{
	(void)arg;
	while (!get_acquire(&over)) {
		for (uint32_t i = HONEST; i < ASK_SLOTS; i++)
			if (get_acquire(&handler_slot(shared, i)->word) == ASK_OP) {
				put_release(&handler_slot(shared, i)->word, ASK_EXECED);
				wake(&handler_slot(shared, i)->word, 1);
			}
		usleep(20000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct server_work work = {begin, answer, begin, NULL};
	pthread_t id[HONEST + HOSTILE + 1];
	struct server *v;
	int n = 0;

	area = mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(area != MAP_FAILED, "no memory");
	shared = (struct handlers *)((char *)area + ((sizeof *area + 4095) & ~4095ull));
	v = serve_start(0, &work, 16);
	check(v && !serve_start(0, &work, 1) && errno == EBUSY, "a second server beside the first");
	for (uintptr_t i = 0; i < HONEST; i++)
		pthread_create(&id[n++], NULL, honest, (void *)i);
	for (uintptr_t i = 0; i < HOSTILE; i++)
		pthread_create(&id[n++], NULL, hostile, (void *)i);
	pthread_create(&id[n++], NULL, sweep, NULL);
	sleep(argc > 1 ? (unsigned)atoi(argv[1]) : SECONDS);
	put_release(&over, 1);
	while (n)
		pthread_join(id[--n], NULL);
	over = 0;
	pthread_create(&id[0], NULL, sweep, NULL);
	check(!serve_stop(v, 5000), "a thread of the server's that does not come to its end");
	put_release(&over, 1);
	pthread_join(id[0], NULL);
	check(exchanged > 100, "honest programs were kept waiting");
	printf("%llu honest exchanges among %llu\n", (unsigned long long)exchanged, (unsigned long long)answered);
	return 0;
}
