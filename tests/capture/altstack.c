/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with small alternate stacks, as Go and Rust use them, that take signals there and jump between both. */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>

enum { THREADS = 8, ROUNDS = 50 };

struct place {
	char *stack;
	size_t size;
	sigjmp_buf escape;
	int inside, good;
};

static __thread struct place *mine;

static int is_inside(const void *address)
{
	return (const char *)address >= mine->stack && (const char *)address < mine->stack + mine->size;
}

static void handler(int signal)
{
	stack_t now;
	char local;

	mine->inside += is_inside(&local);
	sigaltstack(NULL, &now);
	mine->good += now.ss_flags == SS_ONSTACK && now.ss_sp == mine->stack;
	mine->good += sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == -1 && errno == EPERM;
	if (signal == SIGUSR2)
		siglongjmp(mine->escape, 1);
}

static void *body(void *argument)
{
	stack_t alternate;
	stack_t now;

	mine = argument;
	alternate = (stack_t){.ss_sp = mine->stack, .ss_size = mine->size};
	if (sigaltstack(&alternate, NULL))
		return "sigaltstack failed";
	for (int i = 0; i < ROUNDS; i++) {
		pthread_kill(pthread_self(), SIGUSR1);
		if (!sigsetjmp(mine->escape, 1))
			pthread_kill(pthread_self(), SIGUSR2);
		getppid();
	}
	sigaltstack(NULL, &now);
	if (now.ss_sp != mine->stack || now.ss_flags)
		return "alternate stack lost";
	alternate.ss_flags = SS_DISABLE;
	return sigaltstack(&alternate, NULL) ? "cannot be disabled" : NULL;
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	static struct place places[THREADS];
	pthread_t threads[THREADS];
	size_t least = getauxval(AT_MINSIGSTKSZ);
	void *result;

	begin();
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (int i = 0; i < THREADS; i++) {
		/* Twice the frame of a signal and room for a small handler: what run-times reserve. */
		places[i].size = (least > 2048 ? least : 2048) * 2 + 16384;
		places[i].stack = tail_alloc(places[i].size);
		pthread_create(&threads[i], NULL, body, &places[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		printf("thread: %s, on its stack %d times, state good %d times\n", result ? (char *)result : "well",
		       places[i].inside, places[i].good);
	}
	return 0;
}
