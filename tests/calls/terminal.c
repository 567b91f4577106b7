/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program on a terminal: is it one, how large, raw mode and back, a Ctrl-C while it reads. It says what it is ready
 * for; the test types the answers.
 */
#include "check.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static volatile sig_atomic_t interrupted, resized;

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted++;
}

static void on_resize(int signal)
{
	(void)signal;
	resized++;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};
	struct termios saved, raw;
	struct winsize size;
	char buffer[64];
	long got;
	int fd;

	begin();
	printf("isatty: %d %d %d\n", isatty(0), isatty(1), isatty(2));
	report("TIOCGWINSZ", ioctl(0, TIOCGWINSZ, &size));
	printf("size: %d x %d\n", size.ws_row, size.ws_col);
	check("foreground", tcgetpgrp(0) == getpgrp());
	check("session", tcgetsid(0) == getsid(0));
	fd = report("/dev/tty", open("/dev/tty", O_RDWR));
	check("isatty", isatty(fd));
	close(fd);
	printf("ready for a line\n");
	got = read(0, buffer, sizeof buffer);
	printf("line: %ld\n", got);
	report("tcgetattr", tcgetattr(0, &saved));
	check("canonical", (saved.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
	raw = saved;
	cfmakeraw(&raw);
	report("tcsetattr", tcsetattr(0, TCSANOW, &raw));
	write(1, "ready for a key\r\n", 17);
	got = read(0, buffer, sizeof buffer);
	report("tcsetattr back", tcsetattr(0, TCSADRAIN, &saved));
	printf("key: %ld %d\n", got, buffer[0]);
	sigaction(SIGINT, &action, NULL);
	printf("ready for Ctrl-C\n");
	report("read", read(0, buffer, sizeof buffer));
	printf("interrupted: %d\n", (int)interrupted);
	action.sa_handler = on_resize;
	sigaction(SIGWINCH, &action, NULL);
	printf("ready for another size\n");
	report("read", read(0, buffer, sizeof buffer));
	printf("resized: %d\n", (int)resized);
	ioctl(0, TIOCGWINSZ, &size);
	printf("size: %d x %d\n", size.ws_row, size.ws_col);
	printf("ready for Ctrl-D\n");
	report("read", read(0, buffer, sizeof buffer));
	signal(SIGINT, SIG_DFL);
	printf("ready to die\n");
	read(0, buffer, sizeof buffer);
	return 0;
}
