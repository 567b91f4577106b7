/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that cannot open what the launcher keeps for them under /proc: after chroot there is no /proc, after setuid
 * it is forbidden. They must be caught all the same.
 *
 *	unreachable c|u|cu
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static int image(const char *how)
{
	pid_t child;
	int status = 0;

	printf("image %s: uid %d, ", how, (int)getuid());
	puts(access("/proc/self", F_OK) ? "no /proc" : "a /proc");
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(3);
	if (waitpid(child, &status, 0) != child)
		return 1;
	printf("child ended with %d\n", WEXITSTATUS(status));
	return 20;
}

static int copy_self(void)
{
	int from = open("/proc/self/exe", O_RDONLY), to = open("image", O_WRONLY | O_CREAT | O_EXCL, 0755);
	struct stat st;

	if (from < 0 || to < 0 || fstat(from, &st) || sendfile(to, from, NULL, (size_t)st.st_size) != st.st_size)
		return -1;
	close(from);
	close(to);
	return chmod(".", 0755);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	char *next[] = {(char *)"image", (char *)how, (char *)"again", NULL};

	if (argc > 2)
		return image(how);
	if (copy_self())
		perror("copy");
	if (strchr(how, 'c') && chroot("."))
		perror("chroot");
	if (strchr(how, 'u') && setuid(NOBODY))
		perror("setuid");
	execv("./image", next);
	perror("execv");
	return 1;
}
