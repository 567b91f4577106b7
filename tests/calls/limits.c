/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State that belongs to the process: ids, umask, limits of descriptors and
 * file size, directory; inherited, not shared.
 */
#include "check.h"

#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

static volatile sig_atomic_t too_large;

static void on_size(int signal)
{
	(void)signal;
	too_large++;
}

static void descriptors(void)
{
	struct rlimit limit, old;
	int fd, last = -1, p[2];
	pid_t child;

	report("getrlimit", getrlimit(RLIMIT_NOFILE, &old));
	limit = (struct rlimit){20, old.rlim_max};
	report("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
	getrlimit(RLIMIT_NOFILE, &limit);
	printf("limit: %ld\n", (long)limit.rlim_cur);
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		last = fd;
	report("open", fd);
	printf("last: %d\n", last);
	report("dup", dup(0));
	report("pipe", pipe(p));
	report("dup2 at the limit", dup2(0, 20));
	report("dup2 below the limit", dup2(0, 19));
	report("F_DUPFD at the limit", fcntl(0, F_DUPFD, 20));
	report("socket", syscall(SYS_socket, 1, 1, 0));
	close(18);
	report("one closed, pipe needs two", pipe(p));
	report("one closed", open("/dev/null", O_RDONLY));
	child = fork();
	if (!child) {
		report("child is at its limit", open("/dev/null", O_RDONLY));
		_exit(0);
	}
	reap("child", child);
	close_range(3, 30, 0);
	report("setrlimit back", setrlimit(RLIMIT_NOFILE, &old));
	report("beyond 20", dup2(0, 25));
	close(25);
	report("prlimit", prlimit(0, RLIMIT_NOFILE, NULL, &limit));
	check("same", limit.rlim_cur == old.rlim_cur);
	limit.rlim_cur = limit.rlim_max + (limit.rlim_max != RLIM_INFINITY);
	limit.rlim_max = 0;
	report("soft above hard", setrlimit(RLIMIT_NOFILE, &limit));
	report("unknown limit", getrlimit(99, &limit));
	report("getrlimit unmapped", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, nowhere()));
}

static void file_size(void)
{
	struct rlimit limit, old;
	int fd = MUST(open("file", O_CREAT | O_RDWR, 0600));
	pid_t child;

	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){1000, old.rlim_max};
	MUST(setrlimit(RLIMIT_FSIZE, &limit));
	child = fork();
	if (!child) {
		struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		pwrite(fd, "x", 1, 5000);
		_exit(0);
	}
	reap("SIGXFSZ kills", child);
	signal(SIGXFSZ, on_size);
	report("write across the limit", pwrite(fd, "0123456789", 10, 995));
	report("write beyond the limit", pwrite(fd, "x", 1, 5000));
	printf("signals: %d\n", (int)too_large);
	report("ftruncate beyond the limit", ftruncate(fd, 2000));
	printf("signals: %d\n", (int)too_large);
	signal(SIGXFSZ, SIG_IGN);
	report("ignored", pwrite(fd, "x", 1, 5000));
	MUST(setrlimit(RLIMIT_FSIZE, &old));
	report("without the limit", pwrite(fd, "x", 1, 5000));
	close(fd);
}

static void inheritance(void)
{
	char here[PATH_MAX], now[PATH_MAX];
	struct stat st;
	pid_t child;

	getcwd(here, sizeof here);
	MUST(mkdir("sub", 0755));
	umask(027);
	child = fork();
	if (!child) {
		printf("child's umask: %o\n", umask(0));
		MUST(chdir("sub"));
		make_file("made-by-the-child", "x");
		_exit(0);
	}
	reap("child", child);
	printf("umask: %o\n", umask(027));
	check("directory is our own", getcwd(now, sizeof now) && !strcmp(here, now));
	stat("sub/made-by-the-child", &st);
	printf("mode: %o\n", st.st_mode & 07777);
	printf("through a shell: %d\n", system("umask; cd sub && ls && : > by-the-shell") >> 8);
	stat("sub/by-the-shell", &st);
	printf("mode: %o\n", st.st_mode & 07777);
	MUST(chdir("sub"));
	printf("child starts where we are: %d\n", system("test -e made-by-the-child") >> 8);
	MUST(chdir(".."));
}

static void ids(void)
{
	uid_t real, effective, saved;
	gid_t groups[100];
	pid_t child;

	check("getuid", getuid() == geteuid());
	report("getresuid", getresuid(&real, &effective, &saved));
	check("all the same", real == effective && effective == saved);
	report("getresuid unmapped", syscall(SYS_getresuid, nowhere(), &effective, &saved));
	check("getgroups", getgroups(100, groups) >= 0);
	report("setuid to ourselves", setuid(getuid()));
	report("getpriority", getpriority(PRIO_PROCESS, 0));
	make_file("secret", "x");
	MUST(chmod("secret", 0600));
	MUST(mkdir("private", 0700));
	child = fork();
	if (!child) {
		if (getuid() == 0) {
			attempt("setgroups", setgroups(0, NULL));
			report("setresgid", setresgid(65534, 65534, 65534));
			report("setresuid", setresuid(65534, 65534, 65534));
		}
		printf("open a secret: %s\n", open("secret", O_RDONLY) >= 0 ? "allowed" : error_name(errno));
		printf("access: %d\n", access("secret", R_OK));
		report("chroot", chroot("/"));
		attempt("make a file", open("private/file", O_CREAT | O_RDWR, 0600));
		_exit(getuid() == 65534 ? 1 : 0);
	}
	reap("with lesser rights", child);
	if (getuid() == 0) {
		child = fork();
		if (!child) {
			report("seteuid", seteuid(65534));
			printf("open a secret: %s\n", open("secret", O_RDONLY) >= 0 ? "allowed" : error_name(errno));
			report("back", seteuid(0));
			printf("open a secret: %s\n", open("secret", O_RDONLY) >= 0 ? "allowed" : error_name(errno));
			_exit(0);
		}
		reap("effective user", child);
	}
}

int main(void)
{
	begin();
	descriptors();
	file_size();
	inheritance();
	ids();
	return 0;
}
