/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who am I: getpid, gettid, getuid, geteuid, getgid, getegid, getresuid, getresgid, asked often at sites of their own,
 * and then once more after each thing that can change the answer. The agent may answer by itself; what it says is
 * compared with the kernel's own answer, asked for by int 0x80, which the agent never answers. That call comes after
 * the others: it makes the agent forget what it knows. The same for what a machine says of its clocks and priorities.
 * Longer than 500 lines because every way to become somebody else is asked the same questions.
 */
#include "bare.h"
#include "parts.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>

enum { QUESTIONS = 6, OFTEN = 20, SOMEBODY = 1000, I386_SETREUID = 203 };

static const struct {
	const char *name;
	int nr, i386;
} questions[QUESTIONS] = {
	{"pid", SYS_getpid, 20},   {"tid", SYS_gettid, 224}, {"uid", SYS_getuid, 199},
	{"euid", SYS_geteuid, 201}, {"gid", SYS_getgid, 200}, {"egid", SYS_getegid, 202},
};

struct answers {
	long by[QUESTIONS], kernel[QUESTIONS];
	unsigned three[2][4], theirs[2][4]; /* real, effective, saved; the last: what the call returned */
};

/* Those that have arguments: sites of their own, behind the others. */
enum more { GETRESUID = QUESTIONS, GETRESGID, CLOCK_GETRES, PRIORITY_MAX, PRIORITY_MIN, SITES };

static const struct {
	int nr, i386;
} more[SITES - QUESTIONS] = {
	{SYS_getresuid, 209}, {SYS_getresgid, 211}, {SYS_clock_getres, 266}, {SYS_sched_get_priority_max, 159},
	{SYS_sched_get_priority_min, 160},
};

static unsigned char *sites; /* mov $nr, %eax; syscall; ret for each question */
static struct answers shared[4];
static unsigned *low; /* memory that int 0x80 can reach */
static pthread_barrier_t gate;

static void build(void)
{
	sites = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sites == MAP_FAILED)
		exit(99);
	for (int i = 0; i < SITES; i++) {
		memcpy(sites + i * 64, "\xb8....\x0f\x05\xc3", 8);
		memcpy(sites + i * 64 + 1, i < QUESTIONS ? &questions[i].nr : &more[i - QUESTIONS].nr, 4);
	}
	MUST(mprotect(sites, 4096, PROT_READ | PROT_EXEC));
	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		exit(99);
}

static long ask(int i)
{
	return ((long (*)(void))(sites + i * 64))();
}

static long ask_with(enum more i, const void *a, const void *b, const void *c)
{
	return ((long (*)(const void *, const void *, const void *))(sites + i * 64))(a, b, c);
}

static long i386_with(int nr, long a, long b, long c)
{
	int ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static long i386(int nr, int a, int b)
{
	return i386_with(nr, a, b, 0);
}

static void ask_three(unsigned to[2][4])
{
	for (int i = 0; i < 2; i++)
		to[i][3] = (unsigned)ask_with(GETRESUID + i, &to[i][0], &to[i][1], &to[i][2]);
}

/* So that the sites are patched, and the answers known. */
static void warm(void)
{
	unsigned three[2][4];

	for (int n = 0; n < OFTEN; n++) {
		for (int i = 0; i < QUESTIONS; i++)
			ask(i);
		ask_three(three);
	}
}

/* Touches nothing but `to`: for a thread that has no thread-local storage of its own. */
static void ask_all(struct answers *to)
{
	for (int i = 0; i < QUESTIONS; i++)
		to->by[i] = ask(i);
	ask_three(to->three);
	for (int i = 0; i < QUESTIONS; i++)
		to->kernel[i] = (unsigned)i386(questions[i].i386, 0, 0);
	for (int i = 0; i < 2; i++) {
		unsigned *where = low + 16 * i;

		to->theirs[i][3] = (unsigned)i386_with(more[i].i386, (long)where, (long)(where + 1), (long)(where + 2));
		for (int k = 0; k < 3; k++)
			to->theirs[i][k] = where[k];
	}
}

/* Users and groups are told; of numbers of processes only whether they are right. */
static void tell(const char *when, const struct answers *a)
{
	printf("%s:", when);
	for (int i = 0; i < QUESTIONS; i++) {
		if (i > 1)
			printf(" %s %u", questions[i].name, (unsigned)a->by[i]);
		if (a->by[i] != a->kernel[i])
			printf(" (%s: %ld, but the kernel %ld: NO)", questions[i].name, a->by[i], a->kernel[i]);
	}
	for (int i = 0; i < 2; i++) {
		printf(", %u %u %u", a->three[i][0], a->three[i][1], a->three[i][2]);
		if (memcmp(a->three[i], a->theirs[i], sizeof a->three[i]))
			printf(" (three of %s: NO)", questions[2 + 2 * i].name);
	}
	printf("\n");
}

static void now(const char *when)
{
	struct answers a;

	ask_all(&a);
	tell(when, &a);
	warm();
}

/* ---- births ------------------------------------------------------------------------------------------------------ */

static void forks(void)
{
	pid_t parent = getpid(), child;

	now("before");
	child = (pid_t)MUST(fork());
	if (!child) {
		check("the child is another", ask(0) != parent && ask(1) != parent);
		now("child");
		if (!(child = (pid_t)MUST(fork()))) {
			now("grandchild");
			_exit(0);
		}
		reap("grandchild", child);
		now("child");
		_exit(0);
	}
	reap("child", child);
	now("parent");
	check("still itself", ask(0) == parent && ask(1) == parent);
}

static void vforks(void)
{
	pid_t child;

	now("before");
	for (int i = 0; i < 3; i++) {
		child = vfork();
		if (!child) {
			ask_all(&shared[0]);
			warm();
			ask_all(&shared[1]);
			_exit(0);
		}
		ask_all(&shared[2]);
		reap("child", child);
		tell("child", &shared[0]);
		tell("child again", &shared[1]);
		tell("parent", &shared[2]);
		check("the child was another", shared[0].by[0] == child && shared[2].by[0] == getpid());
		warm();
	}
}

static int in_thread(void *to)
{
	struct answers *a = to;

	ask_all(a);
	warm();
	ask_all(a + 1);
	return 0;
}

static void *in_pthread(void *to)
{
	in_thread(to);
	return NULL;
}

static void threads(void)
{
	pthread_t thread;

	now("before");
	if (pthread_create(&thread, NULL, in_pthread, shared))
		exit(99);
	pthread_join(thread, NULL);
	tell("thread", &shared[0]);
	tell("thread again", &shared[1]);
	check("one process", shared[0].by[0] == getpid() && shared[1].by[1] == shared[0].by[1]);
	check("another thread", shared[0].by[1] != getpid() && shared[1].by[1] != getpid());
	now("after");
}

static void bare_threads(void)
{
	static int alive;
	char *stack = tail_alloc(65536);

	now("before");
	alive = 1;
	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, stack + 65536 - 64, NULL, &alive, NULL,
			in_thread, shared));
	bare_join(&alive);
	tell("thread", &shared[0]);
	tell("thread again", &shared[1]);
	check("another thread", shared[0].by[1] != getpid() && shared[0].by[0] == getpid());
	now("after");
}

static void after_exec(void)
{
	now("new image");
}

static void execs(void)
{
	pid_t parent = getpid(), child;

	now("before");
	child = (pid_t)MUST(fork());
	if (!child) {
		attempt("setresuid", syscall(SYS_setresuid, -1, SOMEBODY, -1));
		now("changed");
		execl("/proc/self/exe", "known", "after exec", (char *)NULL);
		_exit(97);
	}
	reap("child", child);
	now("parent");
	check("still itself", ask(0) == parent);
}

/* ---- users and groups -------------------------------------------------------------------------------------------- */

static void one_change(const char *name, long nr, long a, long b, long c)
{
	pid_t child = (pid_t)MUST(fork());

	if (!child) {
		warm();
		attempt(name, syscall(nr, a, b, c));
		now(name);
		_exit(0);
	}
	reap(name, child);
}

static void changes(void)
{
	one_change("setuid", SYS_setuid, SOMEBODY, 0, 0);
	one_change("setgid", SYS_setgid, SOMEBODY, 0, 0);
	one_change("setreuid", SYS_setreuid, SOMEBODY, SOMEBODY + 1, 0);
	one_change("setregid", SYS_setregid, SOMEBODY, SOMEBODY + 1, 0);
	one_change("setresuid", SYS_setresuid, SOMEBODY, SOMEBODY + 1, SOMEBODY + 2);
	one_change("setresgid", SYS_setresgid, SOMEBODY, SOMEBODY + 1, SOMEBODY + 2);
	one_change("setresuid refused", SYS_setresuid, -2, -3, -4);
	now("parent");
}

static void to_and_fro(void)
{
	for (int i = 0; i < OFTEN; i++) {
		attempt("setegid", setegid((gid_t)(i % 2 ? 0 : SOMEBODY + i)));
		attempt("seteuid", seteuid((uid_t)(i % 2 ? 0 : SOMEBODY + i)));
		now("now");
		if (!(i % 2)) {
			attempt("back", seteuid(0));
			now("back");
		}
	}
}

static void *other(void *to)
{
	warm();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	ask_all(to);
	warm();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	ask_all((struct answers *)to + 1);
	return NULL;
}

static void one_thread(void)
{
	pthread_t thread;

	pthread_barrier_init(&gate, NULL, 2);
	if (pthread_create(&thread, NULL, other, shared))
		exit(99);
	pthread_barrier_wait(&gate);
	warm();
	attempt("raw setresuid", syscall(SYS_setresuid, -1, SOMEBODY, -1));
	now("its thread");
	attempt("back", syscall(SYS_setresuid, -1, 0, -1));
	attempt("raw setresgid", syscall(SYS_setresgid, -1, SOMEBODY, -1));
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	tell("the other", &shared[0]);
	attempt("libc's setresgid", setresgid((gid_t)-1, SOMEBODY + 7, (gid_t)-1));
	attempt("libc's setresuid", setresuid((uid_t)-1, SOMEBODY + 7, (uid_t)-1));
	pthread_barrier_wait(&gate);
	pthread_join(thread, NULL);
	now("its thread");
	tell("the other, too", &shared[1]);
}

static void by_i386(void)
{
	now("before");
	printf("setreuid: %ld\n", i386(I386_SETREUID, -1, SOMEBODY));
	now("after");
}

/* ---- namespaces -------------------------------------------------------------------------------------------------- */

static void write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	fd = (int)MUST(open(path, O_WRONLY | O_CLOEXEC));
	attempt(file, write(fd, text, strlen(text)));
	close(fd);
}

/* A child in a new user namespace that waits for its map, and goes on when `p[1]` is written to. */
static void new_namespace(void)
{
	int p[2], q[2];
	pid_t child;
	char byte;

	now("before");
	MUST(pipe(p));
	MUST(pipe(q));
	child = (pid_t)MUST(fork());
	if (!child) {
		warm();
		attempt("unshare", unshare(CLONE_NEWUSER));
		now("without a map");
		MUST(write(q[1], "x", 1));
		MUST(read(p[0], &byte, 1));
		now("with a map");
		_exit(0);
	}
	MUST(read(q[0], &byte, 1));
	write_map(child, "uid_map", "5 0 1\n");
	write_map(child, "setgroups", "deny");
	write_map(child, "gid_map", "6 0 1\n");
	MUST(write(p[1], "x", 1));
	reap("child", child);
	now("parent");
}

static void enter_namespace(void)
{
	int p[2], q[2], fd;
	pid_t child;
	char byte, path[64];

	MUST(pipe(p));
	MUST(pipe(q));
	child = (pid_t)MUST(fork());
	if (!child) {
		attempt("unshare", unshare(CLONE_NEWUSER));
		MUST(write(q[1], "x", 1));
		MUST(read(p[0], &byte, 1));
		_exit(0);
	}
	MUST(read(q[0], &byte, 1));
	write_map(child, "uid_map", "5 0 1\n");
	write_map(child, "gid_map", "6 0 1\n");
	snprintf(path, sizeof path, "/proc/%d/ns/user", child);
	fd = (int)MUST(open(path, O_RDONLY | O_CLOEXEC));
	now("before");
	attempt("setns", setns(fd, CLONE_NEWUSER));
	now("inside");
	MUST(write(p[1], "x", 1));
	reap("child", child);
}

/* ---- by pointers, and of the machine ----------------------------------------------------------------------------- */

/* Each of the three in turn lies at the end of memory, leads nowhere, or is another's. */
static void three_places(enum more site)
{
	unsigned here[3], *end = tail_alloc(sizeof *end), *half = (unsigned *)((char *)tail_alloc(2));
	void *places[] = {&here[0], end, half, nowhere(), NULL, (void *)-4096l, (void *)(1l << 60)};
	const int count = sizeof places / sizeof *places;

	for (int n = 0; n < count * count * count; n++) {
		void *a = places[n % count], *b = places[n / count % count], *c = places[n / count / count];
		long ret;

		here[0] = *end = 77;
		memset(half, 7, 2);
		ret = ask_with(site, a, b, c);
		printf("%d: %ld %u %u\n", n, ret, here[0], *end);
	}
}

static void pointers(void)
{
	for (int i = 0; i < 2; i++) {
		printf("%s\n", i ? "groups" : "users");
		attempt("set", i ? setresgid(1, 2, 3) : setresuid(1, 2, 3));
		warm();
		three_places(GETRESUID + i);
	}
}

/* As the kernel writes it: while SIGSEGV is blocked the agent cannot. */
static void faults_blocked(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigaddset(&set, SIGBUS);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL));
	warm();
	three_places(GETRESUID);
}

static void clocks(void)
{
	long *there = tail_alloc(2 * sizeof *there), *half = tail_alloc(sizeof *half);

	for (int n = 0; n < OFTEN; n++)
		for (long clock = -8; clock < 28; clock++) {
			long none, wide, bad, split;

			there[0] = there[1] = 77;
			none = ask_with(CLOCK_GETRES, (void *)clock, NULL, NULL);
			bad = ask_with(CLOCK_GETRES, (void *)clock, nowhere(), NULL);
			split = ask_with(CLOCK_GETRES, (void *)clock, half, NULL);
			wide = ask_with(CLOCK_GETRES, (void *)(clock | 5l << 40), there, NULL);
			if (n < 2 || n == OFTEN - 1)
				printf("clock %ld: %ld %ld %ld %ld, %ld %ld\n", clock, none, bad, split, wide,
				       there[0], there[1]);
			if (!wide && there[0] == 0) {
				low[1] = 88;
				i386(more[CLOCK_GETRES - QUESTIONS].i386, (int)clock, (int)(long)low);
				if (low[0] || low[1] != (unsigned)there[1])
					printf("clock %ld: the kernel says %u: NO\n", clock, low[1]);
			}
		}
}

static void priorities(void)
{
	for (int n = 0; n < OFTEN; n++)
		for (long policy = -2; policy < 12; policy++) {
			long max = ask_with(PRIORITY_MAX, (void *)(policy | 1l << 40), NULL, NULL);
			long min = ask_with(PRIORITY_MIN, (void *)(policy | 1l << 40), NULL, NULL);

			if (n < 2 || n == OFTEN - 1)
				printf("policy %ld: %ld to %ld\n", policy, min, max);
			if (max != i386(more[PRIORITY_MAX - QUESTIONS].i386, (int)policy, 0) ||
			    min != i386(more[PRIORITY_MIN - QUESTIONS].i386, (int)policy, 0))
				printf("policy %ld: the kernel says something else: NO\n", policy);
		}
}

/* ---- filters ----------------------------------------------------------------------------------------------------- */

static void forbid(int nr, unsigned flags)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	attempt("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

static void filtered(void)
{
	warm();
	forbid(SYS_geteuid, 0);
	printf("geteuid: %ld\n", ask(3));
	forbid(SYS_getgid, 0);
	warm();
	printf("geteuid: %ld, getgid: %ld, getuid: %ld\n", ask(3), ask(4), ask(2));
}

static void filtered_more(void)
{
	unsigned three[2][4];
	long spec[2];

	warm();
	for (int n = 0; n < OFTEN; n++) {
		ask_with(CLOCK_GETRES, (void *)1, spec, NULL);
		ask_with(PRIORITY_MAX, (void *)1, NULL, NULL);
	}
	forbid(SYS_clock_getres, 0);
	forbid(SYS_getresgid, 0);
	forbid(SYS_sched_get_priority_max, 0);
	ask_three(three);
	printf("getresuid: %d, getresgid: %d\n", (int)three[0][3], (int)three[1][3]);
	printf("clock_getres: %ld\n", ask_with(CLOCK_GETRES, (void *)1, spec, NULL));
	printf("priorities: %ld %ld\n", ask_with(PRIORITY_MAX, (void *)1, NULL, NULL),
	       ask_with(PRIORITY_MIN, (void *)1, NULL, NULL));
}

static void filtered_process(void)
{
	warm();
	forbid(SYS_getpid, 0);
	printf("getpid: %ld\n", ask(0));
}

static void *other_filtered(void *to)
{
	long *answers = to;

	warm();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < QUESTIONS; i++)
		answers[i] = ask(i);
	return NULL;
}

/* A filter for all threads: one that has known the answer for long hears of it, too. */
static void filtered_all(void)
{
	long answers[QUESTIONS];
	pthread_t thread;

	pthread_barrier_init(&gate, NULL, 2);
	if (pthread_create(&thread, NULL, other_filtered, answers))
		exit(99);
	pthread_barrier_wait(&gate);
	forbid(SYS_getuid, SECCOMP_FILTER_FLAG_TSYNC);
	pthread_barrier_wait(&gate);
	pthread_join(thread, NULL);
	printf("the other's getuid: %ld, geteuid: %ld\n", answers[2], answers[3]);
	check("its process", answers[0] == getpid());
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"fork", forks}, {"vfork", vforks}, {"thread", threads},
		{"thread without its own storage", bare_threads},
		{"exec", execs}, {"after exec", after_exec}, {"changes", changes}, {"to and fro", to_and_fro},
		{"one thread", one_thread}, {"i386", by_i386}, {"user namespace", new_namespace},
		{"entered namespace", enter_namespace}, {"pointers", pointers}, {"faults blocked", faults_blocked},
		{"clocks", clocks}, {"priorities", priorities},
		{"filter", filtered}, {"filter of pointers", filtered_more}, {"filter of getpid", filtered_process},
		{"filter for all", filtered_all},
	};

	build();
	warm();
	return RUN_PARTS(parts, argc, argv);
}
