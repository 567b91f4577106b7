/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who am I: getpid, gettid, getuid, geteuid, getgid, getegid, asked often at sites of their own, and then once more
 * after each thing that can change the answer. The agent may answer by itself; what it says is compared with the
 * kernel's own answer, asked for by int 0x80, which the agent never answers. That call comes after the other six: it
 * makes the agent forget what it knows.
 */
#include "bare.h"
#include "parts.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
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
};

static unsigned char *sites; /* mov $nr, %eax; syscall; ret for each question */
static struct answers shared[4];
static pthread_barrier_t gate;

static void build(void)
{
	sites = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sites == MAP_FAILED)
		exit(99);
	for (int i = 0; i < QUESTIONS; i++) {
		memcpy(sites + i * 64, "\xb8....\x0f\x05\xc3", 8);
		memcpy(sites + i * 64 + 1, &questions[i].nr, 4);
	}
	MUST(mprotect(sites, 4096, PROT_READ | PROT_EXEC));
}

static long ask(int i)
{
	return ((long (*)(void))(sites + i * 64))();
}

static long i386(int nr, int a, int b)
{
	int ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* So that the sites are patched, and the answers known. */
static void warm(void)
{
	for (int n = 0; n < OFTEN; n++)
		for (int i = 0; i < QUESTIONS; i++)
			ask(i);
}

/* Touches nothing but `to`: for a thread that has no thread-local storage of its own. */
static void ask_all(struct answers *to)
{
	for (int i = 0; i < QUESTIONS; i++)
		to->by[i] = ask(i);
	for (int i = 0; i < QUESTIONS; i++)
		to->kernel[i] = (unsigned)i386(questions[i].i386, 0, 0);
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
		{"entered namespace", enter_namespace}, {"filter", filtered}, {"filter of getpid", filtered_process},
		{"filter for all", filtered_all},
	};

	build();
	warm();
	return RUN_PARTS(parts, argc, argv);
}
