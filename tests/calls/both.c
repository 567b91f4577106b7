/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that program and proxy both make, and calls on lent descriptors, while a timer's signals arrive all the time:
 * each has its effect once. A directory entered by ".." twice would be another one.
 */
#include "check.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>

enum { TURNS = 3000 };

static volatile sig_atomic_t alarms;

static void handler(int signal)
{
	(void)signal;
	alarms++;
}

static int is_inside(const char *path)
{
	struct stat here, there;

	MUST(stat(".", &here));
	MUST(stat(path, &there));
	return here.st_ino == there.st_ino;
}

int main(void)
{
	struct itimerval every = {{0, 150}, {0, 150}}, off = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	int lost = 0, masks = 0, maps = 0;

	begin();
	MUST(sigaction(SIGALRM, &action, NULL));
	MUST(chdir("/usr/share/doc"));
	umask(022);
	setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < TURNS; i++) {
		int fd = MUST(open("/etc/passwd", O_RDONLY));
		char *map = mmap(NULL, 4, PROT_READ, MAP_PRIVATE, fd, 0);

		maps += map != MAP_FAILED && !munmap(map, 4);
		close(fd);
		MUST(chdir(".."));
		MUST(chdir("doc"));
		lost += !is_inside("/usr/share/doc");
		masks += umask(077) == 022 && umask(022) == 077;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	printf("lost its way %d times, %d masks, %d maps\n", lost, masks, maps);
	check("signals came", alarms > 0);
	return 0;
}
