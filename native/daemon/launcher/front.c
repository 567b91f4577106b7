/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lsca run` as the shell knows it: passes on signals that were sent to it alone, stops when the program stops, and
 * ends as the program ends. The launcher, its child, does everything else; see launch.h.
 */
#include "launch.h"
#include "poster.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
/* The terminal's; the program decides what they mean and the front follows. */
static const int followed[] = {SIGTSTP, SIGTTIN, SIGTTOU};

enum {
	KEEPER_LOOKS = 60, KEEPER_LOOK = 5000000 /* ns */,
	POSTER_LOOKS = 5000, POSTER_END = 20, POSTERS = 100,
	ENDING = 1000, /* ms that a killed process may take to be gone */
};

struct front {
	pid_t launcher, program;
	int pidfd; /* the launcher's; -1: this kernel has none */
	sigset_t watched;
	int early[8], early_count; /* signals from before there was a program */
	int over;
	pid_t poster; /* 0: none */
	int poster_end, line[2]; /* its pidfd; what tells it that the run is over */
	uint32_t posters;
};

static int is_stopped(pid_t pid)
{
	char path[40], text[512], *end = NULL;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fgets(text, sizeof text, f))
		end = strrchr(text, ')');
	if (f)
		fclose(f);
	return end && end[1] && end[2] == 'T';
}

/* The kernel's own signals (Ctrl-C, hang-up) reach the program anyway: it is in the same process group. */
static void on_signal(struct front *f, const struct signalfd_siginfo *info)
{
	int sig = (int)info->ssi_signo;

	if (sig == SIGCONT) {
		struct timespec moment = {0, 5000000};

		/* If all of the group got it, the program runs already. */
		nanosleep(&moment, NULL);
		if (f->program && is_stopped(f->program))
			kill(f->program, SIGCONT);
		return;
	}
	if (sig == SIGCHLD || info->ssi_code == SI_KERNEL)
		return;
	if (f->program)
		kill(f->program, sig);
	else if (f->early_count < 8)
		f->early[f->early_count++] = sig;
}

/* By the same signal, so that the shell says what it always says. */
static void stop_too(struct front *f, int sig)
{
	struct sigaction normal = {.sa_handler = SIG_DFL}, before;
	struct timespec none = {0, 0};
	sigset_t one;

	if (!is_stopped(f->program))
		return;
	sigemptyset(&one);
	sigaddset(&one, sig);
	if (sig != SIGSTOP)
		sigaction(sig, &normal, &before);
	/* What the terminal sent us has waited for this moment; one stop is enough. */
	sigtimedwait(&one, NULL, &none);
	raise(sig);
	if (sig != SIGSTOP)
		sigprocmask(SIG_UNBLOCK, &one, NULL); /* stops here */
	sigprocmask(SIG_SETMASK, &f->watched, NULL);
	if (sig != SIGSTOP)
		sigaction(sig, &before, NULL);
}

static void on_message(struct front *f, const struct message *m, struct outcome *out)
{
	switch (m->kind) {
	case MESSAGE_STARTED:
		f->program = m->value;
		for (int i = 0; i < f->early_count; i++)
			kill(f->program, f->early[i]);
		break;
	case MESSAGE_STOPPED:
		stop_too(f, m->value);
		break;
	case MESSAGE_ENDED:
		out->code = WIFEXITED(m->value) ? WEXITSTATUS(m->value) : -1;
		out->signal = WIFSIGNALED(m->value) ? WTERMSIG(m->value) : 0;
		f->over = 1;
		break;
	case MESSAGE_FAILED:
		out->code = m->value;
		memcpy(out->text, m->text, sizeof out->text);
		out->text[TEXT_SIZE - 1] = 0;
		f->over = 1;
		break;
	}
}

/* ---- the poster -------------------------------------------------------------------------------------------------- */

/* It is there when this returns: no program is told of it before. */
static void begin_posting(struct front *f, const struct plan *p)
{
	const struct timespec moment = {0, 200000};
	struct post_head *h = post_open(p->post_fd);
	uint32_t before = h ? get_acquire(&h->poster) : 0;

	f->poster = h ? poster_start(p->post_fd, f->line[0]) : 0;
	if (f->poster <= 0) {
		f->poster = 0;
	} else {
		f->poster_end = above_standard((int)syscall(SYS_pidfd_open, f->poster, 0));
		for (int i = 0; i < POSTER_LOOKS && get_acquire(&h->poster) == before; i++)
			nanosleep(&moment, NULL);
	}
	post_close(h);
}

/* Whatever it was doing, the next one does. */
static void replace_poster(struct front *f, const struct plan *p)
{
	waitpid(f->poster, NULL, 0);
	f->poster = 0;
	close(f->poster_end);
	f->poster_end = -1;
	if (++f->posters < POSTERS)
		begin_posting(f, p);
}

/* What the dead have posted is in its file before we return; the living may go on in the background. */
static void end_posting(struct front *f, const struct plan *p)
{
	const struct timespec moment = {0, 1000000};
	struct post_head *h = post_open(p->post_fd);

	close(f->line[0]);
	close(f->line[1]);
	if (f->poster > 0)
		kill(f->poster, SIGCONT); /* it may have been stopped, and is to finish now */
	for (int i = 0; h && f->poster && i < POSTER_LOOKS; i++) {
		put_relaxed(&h->asleep, 0);
		add_one(&h->bell);
		futex_call(&h->bell);
		if (waitpid(f->poster, NULL, WNOHANG)) {
			f->poster = 0;
			if (get_acquire(&h->poster)) { /* it was killed */
				if (poster_finish(p->post_fd))
					post_remove(p->post_fd);
			}
		} else if (i >= POSTER_END && !post_waiting(h, 1)) {
			break;
		}
		nanosleep(&moment, NULL);
	}
	if (h && p->post_tells && h->files)
		fprintf(stderr, "lsca: %llu writes to %llu file%s posted, written by %llu calls\n",
			(unsigned long long)h->writes, (unsigned long long)h->files, h->files > 1 ? "s" : "",
			(unsigned long long)h->calls);
	if (h && h->lost)
		fprintf(stderr, "lsca: %llu posted bytes could not be written\n", (unsigned long long)h->lost);
	if (f->poster_end >= 0)
		close(f->poster_end);
	post_close(h);
}

/*
 * 0: the launcher was killed. Its end is seen on a pidfd: SIGCHLD may have gone to a thread of somebody else's in this
 * process, and the pipe may be open in a child that such a thread has started.
 */
static int follow(struct front *f, const struct plan *p, int signals, int messages, struct outcome *out)
{
	while (!f->over) {
		struct pollfd watch[4] = {{.fd = signals, .events = POLLIN},
					  {.fd = messages, .events = POLLIN},
					  {.fd = f->pidfd, .events = POLLIN},
					  {.fd = f->poster_end, .events = POLLIN}};
		struct signalfd_siginfo info;
		struct message m;

		if (poll(watch, 4, -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (watch[0].revents & POLLIN && read(signals, &info, sizeof info) == sizeof info)
			on_signal(f, &info);
		if (watch[3].revents)
			replace_poster(f, p);
		/* What it had to say comes first. */
		if (!watch[1].revents && watch[2].revents)
			break;
		if (!watch[1].revents)
			continue;
		if (read(messages, &m, sizeof m) != sizeof m)
			break;
		on_message(f, &m, out);
	}
	if (!f->over) {
		out->code = EXIT_OWN_FAILURE;
		snprintf(out->text, sizeof out->text,
			 "the launcher was killed; the program (process %d) goes on without it",
			 (int)f->program);
	}
	return f->over;
}

/* A launcher that goes on for others closes its end of the pipe; one that ends is worth waiting for. */
static void await_launcher(const struct front *f, int messages)
{
	struct pollfd watch[2] = {{.fd = messages, .events = POLLIN}, {.fd = f->pidfd, .events = POLLIN}};
	char rest[256];

	for (;;) {
		if (poll(watch, 2, -1) < 0 && errno != EINTR)
			break;
		if (watch[0].revents ? read(messages, rest, sizeof rest) <= 0 : watch[1].revents)
			break;
	}
	waitpid(f->launcher, NULL, WNOHANG);
}

/*
 * The log is somebody's, still: a keeper brings it to its end. It is there before the launcher is reaped, so that no
 * program sees the number of a drainer that does not exist. Without programs it is over at once, and worth waiting for.
 */
static void take_over_log(const struct plan *p)
{
	pid_t keeper = p->log_fd >= 0 ? keep_start(p->session_fd, p->area_fd, p->log_fd, p->log_path, 1) : -1;

	for (int i = 0; keeper > 0 && i < KEEPER_LOOKS && !waitpid(keeper, NULL, WNOHANG); i++) {
		const struct timespec moment = {0, KEEPER_LOOK};

		nanosleep(&moment, NULL);
	}
}

void front_run(const struct plan *p, struct outcome *out)
{
	struct sigaction child = {.sa_handler = SIG_DFL};
	struct front f = {.pidfd = -1, .poster_end = -1, .line = {-1, -1}};
	struct inherited was;
	int messages[2] = {-1, -1}, signals = -1;

	memset(out, 0, sizeof *out);
	out->code = EXIT_OWN_FAILURE;
	sigemptyset(&f.watched);
	for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
		sigaddset(&f.watched, passed_on[i]);
	for (size_t i = 0; i < sizeof followed / sizeof *followed; i++)
		sigaddset(&f.watched, followed[i]);
	sigaddset(&f.watched, SIGCONT);
	sigaddset(&f.watched, SIGCHLD);
	sigaction(SIGCHLD, &child, &was.child);
	sigprocmask(SIG_BLOCK, &f.watched, &was.mask);
	if (pipe2(messages, O_CLOEXEC) || (signals = above_standard(signalfd(-1, &f.watched, SFD_CLOEXEC))) < 0) {
		snprintf(out->text, sizeof out->text, "no descriptors left: %s", strerror(errno));
		goto out;
	}
	messages[0] = above_standard(messages[0]);
	messages[1] = above_standard(messages[1]);
	if (p->post_fd >= 0 && !pipe2(f.line, O_CLOEXEC)) {
		f.line[0] = above_standard(f.line[0]);
		f.line[1] = above_standard(f.line[1]);
		begin_posting(&f, p);
	}
	f.launcher = fork();
	if (f.launcher < 0) {
		if (p->area_fd >= 0)
			area_remove(p->area_fd);
		snprintf(out->text, sizeof out->text, "cannot start a process: %s", strerror(errno));
		goto out;
	}
	if (!f.launcher) {
		close(messages[0]);
		close(signals);
		launch(p, &was, messages[1]);
	}
	close(messages[1]);
	messages[1] = -1;
	f.pidfd = above_standard((int)syscall(SYS_pidfd_open, f.launcher, 0));
	if (p->drop)
		drop_inherited(1);
	if (p->forked)
		p->forked(p->forked_with);
	if (!follow(&f, p, signals, messages[0], out)) {
		take_over_log(p);
		poll(&(struct pollfd){.fd = f.pidfd, .events = POLLIN}, 1, ENDING); /* its locks outlast its pipe */
		meetings_clear();
	}
	await_launcher(&f, messages[0]);
	if (f.line[1] >= 0)
		end_posting(&f, p);
out:
	if (messages[0] >= 0)
		close(messages[0]);
	if (messages[1] >= 0)
		close(messages[1]);
	if (signals >= 0)
		close(signals);
	if (f.pidfd >= 0)
		close(f.pidfd);
	sigaction(SIGCHLD, &was.child, NULL);
	sigprocmask(SIG_SETMASK, &was.mask, NULL);
}
