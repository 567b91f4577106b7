/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about the program: its binary, descriptors, memory, name, threads, directory. */
#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/prctl.h>

static int mentioned(const char *path, const char *word)
{
	static char line[1 << 20];
	FILE *file = fopen(path, "r");
	int found = 0;
	size_t got;

	if (!file)
		return -1;
	while ((got = fread(line, 1, sizeof line, file)) > 0)
		found |= memmem(line, got, word, strlen(word)) != NULL;
	fclose(file);
	return found;
}

static void link_is(const char *name, const char *path, const char *expected)
{
	char target[PATH_MAX];
	long length = readlink(path, target, sizeof target - 1);

	if (length < 0) {
		printf("%s: %s\n", name, error_name(errno));
		return;
	}
	target[length] = 0;
	check(name, !strcmp(target, expected));
}

static void count(const char *name, const char *path)
{
	DIR *dir = opendir(path);
	int found = 0;

	if (!dir) {
		printf("%s: %s\n", name, error_name(errno));
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));)
		found += entry->d_name[0] != '.';
	closedir(dir);
	printf("%s: %d\n", name, found);
}

static void *sleeping(void *argument)
{
	sleep_ms(100);
	return argument;
}

int main(int argc, char **argv)
{
	char here[PATH_MAX - 8], path[PATH_MAX], buffer[64], *program = realpath(argv[0], NULL);
	struct stat one, two;
	pthread_t thread;
	int fd, status;
	pid_t child;

	begin();
	(void)argc;
	getcwd(here, sizeof here);
	link_is("/proc/self/exe", "/proc/self/exe", program);
	link_is("/proc/self/cwd", "/proc/self/cwd", here);
	link_is("/proc/self/root", "/proc/self/root", "/");
	snprintf(path, sizeof path, "%d", getpid());
	link_is("/proc/self", "/proc/self", path);
	snprintf(path, sizeof path, "/proc/%d/exe", getpid());
	link_is("/proc/<pid>/exe", path, program);
	link_is("/proc/thread-self/exe", "/proc/thread-self/exe", program);
	snprintf(path, sizeof path, "/proc/%d/cwd", getpid());
	link_is("/proc/<pid>/cwd", path, here);
	check("/proc/self/maps names the program", mentioned("/proc/self/maps", program) == 1);
	check("/proc/self/maps names the stack", mentioned("/proc/self/maps", "[stack]") == 1);
	check("/proc/self/cmdline", mentioned("/proc/self/cmdline", argv[0]) == 1);
	check("/proc/self/environ", mentioned("/proc/self/environ", "PATH=") == 1);
	check("/proc/self/status", mentioned("/proc/self/status", "Name:\tself") == 1);
	snprintf(path, sizeof path, "Pid:\t%d\n", getpid());
	check("/proc/self/status pid", mentioned("/proc/self/status", path) == 1);
	snprintf(path, sizeof path, "PPid:\t%d\n", getppid());
	check("/proc/self/status parent", mentioned("/proc/self/status", path) == 1);
	check("nobody traces us", mentioned("/proc/self/status", "TracerPid:\t0\n") == 1);
	check("/proc/self/status threads", mentioned("/proc/self/status", "Threads:\t1\n") == 1);

	fd = MUST(open("/proc/self/comm", O_RDWR));
	report("read comm", read(fd, buffer, sizeof buffer));
	check("comm", !memcmp(buffer, "self\n", 5));
	report("write comm", write(fd, "renamed", 7));
	close(fd);
	prctl(PR_GET_NAME, buffer);
	check("PR_GET_NAME", !strcmp(buffer, "renamed"));
	prctl(PR_SET_NAME, "again");
	check("comm again", mentioned("/proc/self/comm", "again") == 1);

	count("descriptors", "/proc/self/fd");
	snprintf(path, sizeof path, "/proc/%d/fd", getpid());
	count("descriptors by pid", path);
	count("threads", "/proc/self/task");
	pthread_create(&thread, NULL, sleeping, NULL);
	count("threads with one more", "/proc/self/task");
	pthread_join(thread, NULL);

	fd = MUST(open("file", O_CREAT | O_RDWR, 0600));
	snprintf(buffer, sizeof buffer, "/proc/self/fd/%d", fd);
	snprintf(path, sizeof path, "%s/file", here);
	link_is("link of a descriptor", buffer, path);
	snprintf(buffer, sizeof buffer, "/dev/fd/%d", fd);
	link_is("by /dev/fd", buffer, path);
	check("stat by the link", !stat(buffer, &one) && !fstat(fd, &two) && one.st_ino == two.st_ino);
	MUST(write(fd, "text", 4));
	status = open(buffer, O_RDONLY);
	report("open by the link", status);
	report("its own offset", read(status, path, 10));
	snprintf(buffer, sizeof buffer, "/proc/self/fdinfo/%d", fd);
	check("fdinfo", mentioned(buffer, "pos:\t4") == 1);
	close(status);
	status = open("/proc/self", O_RDONLY | O_DIRECTORY);
	check("openat below /proc/self", (close(openat(status, "maps", O_RDONLY)), errno = 0, status >= 0) &&
	      readlinkat(status, "exe", path, sizeof path) == (long)strlen(program));
	close(status);
	status = open("/proc/self/mem", O_RDONLY);
	check("/proc/self/mem", pread(status, path, 4, (off_t)(uintptr_t)program) == 4 && !memcmp(path, program, 4));
	close(status);

	child = fork();
	if (!child) {
		snprintf(path, sizeof path, "%d", getpid());
		link_is("child's /proc/self", "/proc/self", path);
		link_is("child's /proc/self/exe", "/proc/self/exe", program);
		_exit(0);
	}
	reap("child", child);
	snprintf(path, sizeof path, "/proc/%d/exe", getppid());
	check("the parent can be seen", readlink(path, buffer, 1) == 1);
	child = fork();
	if (!child) { /* from now on only we ourselves may look */
		if (!getuid())
			report("becomes nobody", setgid(65534) || setuid(65534));
		prctl(PR_SET_DUMPABLE, 0);
		link_is("/proc/self/exe without being dumpable", "/proc/self/exe", program);
		link_is("/proc/thread-self/exe", "/proc/thread-self/exe", program);
		check("maps", mentioned("/proc/self/maps", "[stack]") == 1);
		report("environ", open("/proc/self/environ", O_RDONLY));
		snprintf(path, sizeof path, "/proc/%d/exe", getppid());
		report("the parent", readlink(path, buffer, 1));
		_exit(0);
	}
	reap("child that may not be traced", child);
	report("stdin of this process", access("/dev/stdin", F_OK));
	report("missing process", access("/proc/4194305", F_OK));
	return 0;
}
