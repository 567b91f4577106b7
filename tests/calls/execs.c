/* SPDX-License-Identifier: Apache-2.0 */
/* exec in all its forms: environment, failure that leaves everything working, scripts, by descriptor, from a thread. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

extern char **environ;

static char *self;

/* What the new image says about itself. */
static int image(int argc, char **argv)
{
	sigset_t mask;
	struct sigaction action;

	printf("image:");
	for (int i = 1; i < argc; i++)
		printf(" %s", argv[i]);
	printf(" | environment %s", environ[0] ? "" : "empty");
	for (char **entry = environ; *entry; entry++)
		if (!strncmp(*entry, "EXEC_", 5))
			printf("%s ", *entry);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	printf("| SIGUSR1 blocked %d", sigismember(&mask, SIGUSR1));
	sigaction(SIGUSR1, NULL, &action);
	printf(" default %d", action.sa_handler == SIG_DFL);
	sigaction(SIGUSR2, NULL, &action);
	printf(" SIGUSR2 ignored %d", action.sa_handler == SIG_IGN);
	sigaction(SIGSYS, NULL, &action);
	printf(" SIGSYS default %d\n", action.sa_handler == SIG_DFL);
	return 20;
}

static void handler(int signal)
{
	(void)signal;
}

static void child_exec(const char *name, const char *path, char **argv, char **env)
{
	pid_t child = fork();

	if (!child) {
		execve(path, argv, env);
		printf("%s: %s\n", name, error_name(errno));
		_exit(50);
	}
	reap(name, child);
}

static void environments(void)
{
	char *argv[] = {self, "image", "one", "two words", "", NULL};
	char *none[] = {NULL}, *some[] = {"EXEC_A=1", "EXEC_B=two", NULL};
	char **large = calloc(2002, sizeof *large);
	sigset_t mask;

	child_exec("empty environment", self, argv, none);
	child_exec("own environment", self, argv, some);
	signal(SIGUSR1, handler);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGSYS, handler);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	child_exec("signals", self, argv, some);
	signal(SIGUSR2, SIG_DFL);
	signal(SIGSYS, SIG_IGN);
	child_exec("SIGSYS ignored", self, argv, some);
	signal(SIGSYS, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	large[0] = self;
	large[1] = "image";
	for (int i = 2; i < 2001; i++)
		large[i] = "a";
	freopen("/dev/null", "r", stdin);
	large[2001] = NULL;
	large[1] = "quiet";
	child_exec("2000 arguments", self, large, none);
	free(large);
}

static void failures(void)
{
	char *argv[] = {self, "image", NULL}, *env[] = {NULL};
	char *huge = malloc(4 << 20);
	char *too_much[] = {self, huge, NULL};
	int fd = MUST(open("kept", O_CREAT | O_RDWR | O_CLOEXEC, 0600));

	memset(huge, 'x', (4 << 20) - 1);
	huge[(4 << 20) - 1] = 0;
	make_file("plain", "not a program\n");
	make_file("garbage", "\177ELF garbage");
	MUST(chmod("garbage", 0755));
	MUST(mkdir("directory", 0755));
	report("ENOENT", execve("/nonexistent", argv, env));
	report("ENOTDIR", execve("plain/x", argv, env));
	MUST(symlink("/nonexistent", "dangling"));
	MUST(symlink("round", "round"));
	report("dangling link", execve("dangling", argv, env));
	report("ELOOP", execve("round", argv, env));
	huge[300] = 0;
	report("ENAMETOOLONG", execve(huge, argv, env));
	huge[300] = 'x';
	report("execveat no follow", syscall(SYS_execveat, AT_FDCWD, "round", argv, env, AT_SYMLINK_NOFOLLOW));
	report("execveat unknown flag", syscall(SYS_execveat, AT_FDCWD, "/nonexistent", argv, env, 0x800));
	report("execveat unknown flag, file there", syscall(SYS_execveat, AT_FDCWD, self, argv, env, 0x800));
	report("EACCES", execve("plain", argv, env));
	report("a directory", execve("directory", argv, env));
	report("garbage", execve("garbage", argv, env));
	MUST(chmod("plain", 0755));
	report("no magic", execve("plain", argv, env));
	report("name unmapped", execve(nowhere(), argv, env));
	report("arguments unmapped", execve(self, nowhere(), env));
	report("environment unmapped", execve(self, argv, nowhere()));
	report("too large", execve(self, too_much, env));
	report("empty name", execve("", argv, env));
	report("descriptor is kept", write(fd, "kept", 4));
	report("next number", dup(fd));
	report("files still open", access("kept", F_OK));
	close(fd);
	close(fd + 1);
	free(huge);
}

static void scripts(void)
{
	char *argv[] = {"script", "argument", NULL}, *env[] = {"EXEC_A=script", NULL};

	make_file("script", "#!/bin/sh -e\necho \"script $0 $1 $EXEC_A\"\nexit 9\n");
	MUST(chmod("script", 0755));
	child_exec("script", "./script", argv, env);
	make_file("chain", "#!./script with\n");
	MUST(chmod("chain", 0755));
	child_exec("script of a script", "./chain", argv, env);
	make_file("lost", "#!/nonexistent\n");
	MUST(chmod("lost", 0755));
	child_exec("interpreter missing", "./lost", argv, env);
}

static void by_descriptor(void)
{
	char *argv[] = {self, "image", "by descriptor", NULL}, *env[] = {NULL};
	int fd = MUST(open(self, O_RDONLY));
	pid_t child = fork();

	if (!child) {
		fexecve(fd, argv, env);
		printf("fexecve: %s\n", error_name(errno));
		_exit(50);
	}
	reap("fexecve", child);
	report("execveat bad descriptor", syscall(SYS_execveat, 77, "x", argv, env, 0));
	report("execveat no name", syscall(SYS_execveat, fd, "", argv, env, 0));
	close(fd);
}

static void *in_thread(void *argument)
{
	char *argv[] = {self, "image", "from a thread", NULL}, *env[] = {NULL};

	(void)argument;
	execve(self, argv, env);
	_exit(50);
}

static void *stuck(void *argument)
{
	char byte;
	int p[2];

	(void)argument;
	MUST(pipe(p));
	read(p[0], &byte, 1);
	return NULL;
}

static void threads(void)
{
	pid_t child = fork();
	pthread_t thread;

	if (!child) {
		pthread_create(&thread, NULL, stuck, NULL);
		pthread_create(&thread, NULL, stuck, NULL);
		sleep_ms(30);
		pthread_create(&thread, NULL, in_thread, NULL);
		for (;;)
			pause();
	}
	reap("exec in a thread, others blocked", child);
}

/* Twenty images one after the other in one process; each opens a file that the next one must still have. */
static int chain(int left)
{
	char number[16], *argv[] = {self, "chain", number, NULL}, *env[] = {NULL};
	int fd = open("/dev/null", O_RDONLY);

	open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!left) {
		printf("last of the chain has %d descriptors\n", fd - 2);
		return 21;
	}
	snprintf(number, sizeof number, "%d", left - 1);
	execve(self, argv, env);
	return 50;
}

int main(int argc, char **argv)
{
	char *chained[] = {argv[0], "chain", "19", NULL}, *none[] = {NULL};

	begin();
	self = argv[0];
	if (argc > 1 && !strcmp(argv[1], "image"))
		return image(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "quiet"))
		return argc % 256;
	if (argc > 2 && !strcmp(argv[1], "chain"))
		return chain(atoi(argv[2]));
	environments();
	failures();
	scripts();
	by_descriptor();
	threads();
	child_exec("chain", self, chained, none);
	return 0;
}
