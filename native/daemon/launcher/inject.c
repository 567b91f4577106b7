/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of an injection. Called by launch.c with stops of a program that it traces; never waits, so that a program
 * that takes its time holds up no other.
 *
 * At the exec stop a few instructions at the program's entry make it map the agent, which runs and stops with STOP_*
 * until it has set itself up; then program, registers, and signal mask are as execve left them, and the launcher lets
 * go. All programs map one file; those that cannot open it map memory, into which the launcher writes the agent through
 * /proc/PID/mem. Either way no page is ever writable and executable. Each stop costs two switches between processes.
 */
#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096 };

#define DISTANCE (2ull << 30)
#define REGION (2ull << 20) /* what one table of the processor describes: agent and session fit into it */

int inject_fail(struct injection *i, const char *why, int error)
{
	i->why = why;
	i->error = error;
	return -1;
}

static int memory_get(struct injection *i, uint64_t at, void *to, size_t n)
{
	return pread(i->memory, to, n, (off_t)at) == (ssize_t)n ? 0 : -1;
}

/* Kernels may be told to refuse writes to read-only pages through /proc/PID/mem; ptrace still may. */
static int memory_put(struct injection *i, uint64_t at, const void *from, size_t n)
{
	const uint8_t *bytes = from;

	if (pwrite(i->memory, from, n, (off_t)at) == (ssize_t)n)
		return 0;
	while (n) {
		size_t skip = at % sizeof(long), part = sizeof(long) - skip;
		long word;

		if (part > n)
			part = n;
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, i->tid, at - skip, 0);
		if (errno)
			return -1;
		memcpy((char *)&word + skip, bytes, part);
		if (ptrace(PTRACE_POKEDATA, i->tid, at - skip, word))
			return -1;
		at += part;
		bytes += part;
		n -= part;
	}
	return 0;
}

/* libc finds the vDSO by this entry of the auxiliary vector; without it, clock calls become calls. */
static void hide_vdso_entry(struct injection *i)
{
	uint64_t at = machine_sp(&i->saved), word, pair[2];

	if (memory_get(i, at, &word, 8))
		return;
	at += 8 * (word + 2);
	do {
		if (memory_get(i, at, &word, 8))
			return;
		at += 8;
	} while (word);
	for (; !memory_get(i, at, pair, 16) && pair[0] != AT_NULL; at += 16) {
		if (pair[0] == AT_SYSINFO_EHDR) {
			pair[0] = AT_IGNORE;
			memory_put(i, at, pair, 8);
		}
	}
}

static int go_on(struct injection *i)
{
	if (ptrace(PTRACE_CONT, i->tid, 0, 0))
		return inject_fail(i, "cannot be continued", -errno);
	return 0;
}

static int call(struct injection *i, int first, uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t args[6] = {a, b, c, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
	struct user_regs_struct regs = i->saved;
	int e;

	machine_call(&regs, i->code_at, first, nr, args);
	e = machine_set(i->tid, &regs);
	return e ? inject_fail(i, "its registers cannot be set", e) : go_on(i);
}

/*
 * A wish, no more, for where the agent is to be: not next to the dynamic linker, where the libraries will be, so that
 * their addresses are as without us, and the sites in them have room above (arch/sites.c of the agent).
 */
uint64_t inject_wish(uint64_t entry)
{
	return entry >> 44 ? ((entry - DISTANCE) & ~(REGION - 1)) + REGION / 2 : 0;
}

/* The way that always works: one call, one stop. */
static int begin_copy(struct injection *i, int first)
{
	uint8_t code[CODE_SIZE];

	machine_code(code, machine_mmap);
	i->poked = 1;
	if (memory_put(i, i->code_at, code, sizeof code))
		return inject_fail(i, "its first instructions cannot be written", -errno);
	i->phase = INJECT_MAP;
	return call(i, first, machine_mmap, inject_wish(machine_pc(&i->saved)), i->image->span,
		    PROT_READ | PROT_EXEC);
}

/* What the stub takes with it. */
struct luggage {
	struct agent_config config;
	char path[40];
};

enum { STUB_MOST = 160 };

_Static_assert(STUB_MOST + sizeof(struct luggage) <= STUB_SIZE, "the stub and its luggage");

static uint64_t luggage_at(void)
{
	return (machine_stub_size + 7u) & ~7ull;
}

static int begin_stub(struct injection *i)
{
	struct user_regs_struct regs = i->saved;
	struct luggage luggage = {.config = i->config};
	uint64_t at = luggage_at();
	uint8_t bytes[STUB_SIZE] = {0};
	int e;

	snprintf(luggage.path, sizeof luggage.path, "/proc/%d/fd/%d", (int)getpid(), i->image->fd);
	memcpy(bytes, machine_stub, machine_stub_size);
	memcpy(bytes + at, &luggage, sizeof luggage);
	i->poked = 1;
	if (memory_put(i, i->code_at, bytes, i->code_size))
		return inject_fail(i, "its first instructions cannot be written", -errno);
	machine_start(&regs, i->image, i->code_at, i->code_at + at + offsetof(struct luggage, path),
		      i->code_at + at + offsetof(struct luggage, config), inject_wish(machine_pc(&i->saved)));
	e = machine_set(i->tid, &regs);
	i->phase = INJECT_STUB;
	return e ? inject_fail(i, "its registers cannot be set", e) : go_on(i);
}

/* At the program's entry, or just before where that page ends too soon. */
static void choose_place(struct injection *i)
{
	uint64_t pc = machine_pc(&i->saved), left = PAGE - pc % PAGE;

	i->code_size = i->image->fd >= 0 ? luggage_at() + sizeof(struct luggage) : CODE_SIZE;
	i->code_at = left < i->code_size ? pc - (i->code_size - left) : pc;
}

static int open_memory(struct injection *i)
{
	char path[40];

	snprintf(path, sizeof path, "/proc/%d/mem", (int)i->tid);
	i->memory = open(path, O_RDWR | O_CLOEXEC);
	return i->memory < 0 ? inject_fail(i, "its memory cannot be opened", -errno) : 0;
}

static int read_code(struct injection *i)
{
	if (memory_get(i, i->code_at, i->code, i->code_size))
		return inject_fail(i, "its first instructions cannot be read", -errno);
	return 0;
}

static int block_signals(struct injection *i)
{
	uint64_t all = ~0ull;

	if (ptrace(PTRACE_GETSIGMASK, i->tid, sizeof i->mask, &i->mask) ||
	    ptrace(PTRACE_SETSIGMASK, i->tid, sizeof all, &all))
		return inject_fail(i, "its signal mask cannot be set", -errno);
	i->masked = 1;
	return 0;
}

int inject_begin(struct injection *i, const struct image *image, pid_t tid, int session,
		 const struct agent_config *config, int hide_vdso)
{
	int e;

	memset(i, 0, sizeof *i);
	i->image = image;
	i->tid = tid;
	i->session = session;
	i->config = *config;
	if (open_memory(i))
		return -1;
	e = machine_get(tid, &i->saved);
	if (e)
		return inject_fail(
			i, e == -ENOEXEC ? "it is not a 64-bit program of this machine" : "its registers", e);
	machine_fresh(&i->saved);
	if (block_signals(i))
		return -1;
	i->config.mask = i->mask;
	choose_place(i);
	if (read_code(i))
		return -1;
	i->config.entry = machine_pc(&i->saved);
	i->config.sp = machine_sp(&i->saved);
	if (hide_vdso)
		hide_vdso_entry(i);
	return image->fd >= 0 ? begin_stub(i) : begin_copy(i, 1);
}

/* Contents into pages that are not writable for the program itself. */
static int write_image(struct injection *i)
{
	const struct image *m = i->image;
	uint8_t *copy = malloc(m->size);
	int e;

	if (!copy)
		return inject_fail(i, "no memory for the agent", -ENOMEM);
	memcpy(copy, m->bytes, m->size);
	for (uint32_t n = 0; n < m->relocation_count; n++) {
		uint64_t value = i->base + m->relocations[n].addend;

		memcpy(copy + m->relocations[n].at, &value, sizeof value);
	}
	memcpy(copy + m->config, &i->config, sizeof i->config);
	e = memory_put(i, i->base, copy, m->size);
	free(copy);
	return e ? inject_fail(i, "the agent cannot be written", -errno) : 0;
}

/* The next segment that is not to stay as mapped; after the last one, the agent starts. */
static int protect_next(struct injection *i)
{
	const struct image *m = i->image;
	struct user_regs_struct regs = i->saved;

	for (; i->segment < m->segment_count; i->segment++) {
		const struct image_segment *s = &m->segments[i->segment];

		if (s->prot == (PROT_READ | PROT_EXEC))
			continue;
		i->phase = INJECT_PROTECT;
		i->segment++;
		return call(i, 0, machine_mprotect, i->base + s->at, s->size, (uint64_t)s->prot);
	}
	i->phase = INJECT_AGENT;
	machine_enter(&regs, i->base + m->entry);
	if (machine_set(i->tid, &regs))
		return inject_fail(i, "its registers cannot be set", -errno);
	return go_on(i);
}

/* A program that may not open /proc/LAUNCHER/fd gets our descriptors through a socket that it made. */
static int send_session(struct injection *i)
{
	int fds[2] = {i->session, i->config.area};
	size_t size = (i->config.area >= 0 ? 2 : 1) * sizeof(int);
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof fds)];
	} control = {.head = {CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS}};
	char byte = 0;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = CMSG_SPACE(size)};
	int pidfd = -1, end = -1, e = -1;

	if (memory_get(i, i->base + i->image->config, &i->config, sizeof i->config))
		goto out;
	pidfd = (int)syscall(SYS_pidfd_open, i->tid, 0);
	if (pidfd < 0)
		goto out;
	end = (int)syscall(SYS_pidfd_getfd, pidfd, i->config.socket, 0);
	if (end < 0)
		goto out;
	memcpy(CMSG_DATA(&control.head), fds, size);
	e = sendmsg(end, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
out:
	e = e ? inject_fail(i, "the session cannot be handed over", -errno) : 0;
	if (end >= 0)
		close(end);
	if (pidfd >= 0)
		close(pidfd);
	return e;
}

/* Those that were patched for an agent which has no part in it after all. */
static int restore_sites(struct injection *i)
{
	uint8_t bytes[ARCH_LEAD];

	for (uint32_t n = 0; n < i->config.lead_count && n < LEADS; n++) {
		uint64_t at = i->config.entry + (uint64_t)(int64_t)i->config.leads[n].offset - ARCH_LEAD;

		arch_unlead(bytes + ARCH_LEAD, i->config.leads[n].nr);
		if (memory_put(i, at, bytes, ARCH_LEAD))
			return inject_fail(i, "its instructions cannot be restored", -errno);
	}
	i->config.lead_count = 0;
	return 0;
}

/* It has the session now, and goes on by itself. */
static int help_on(struct injection *i, struct user_regs_struct *agent)
{
	int e = send_session(i);

	if (!e) {
		machine_jump(agent, i->base + i->image->waits_over);
		e = machine_set(i->tid, agent);
	}
	inject_gone(i);
	i->memory = -1;
	return e ? inject_fail(i, "it cannot be helped", -errno) : NEEDS_NOBODY;
}

int inject_return(struct injection *i, struct user_regs_struct *agent)
{
	struct agent_config now;

	if (open_memory(i))
		return -1;
	if (!agent) {
		i->config.flags &= ~(uint32_t)AGENT_ALONE;
		choose_place(i);
		if (restore_sites(i) || read_code(i) || block_signals(i))
			return -1;
		i->config.mask = i->mask;
		return begin_copy(i, 1);
	}
	i->base = machine_config(agent) - i->image->config;
	if (machine_stop(agent) == STOP_SOCKET)
		return help_on(i, agent);
	if (memory_get(i, machine_config(agent), &now, sizeof now) || restore_sites(i))
		return inject_fail(i, "its agent cannot be asked", -errno);
	i->mask = now.mask;
	i->masked = 1;
	return machine_stop(agent) == STOP_READY ? 1 : inject_fail(i, "the agent gave up", now.error);
}

static int agent_stopped(struct injection *i, struct user_regs_struct *regs)
{
	i->base = machine_config(regs) - i->image->config;
	switch (machine_stop(regs)) {
	case STOP_READY:
		return 1;
	case STOP_SOCKET:
		if (send_session(i))
			return -1;
		machine_resume(regs);
		if (machine_set(i->tid, regs))
			return inject_fail(i, "its registers cannot be set", -errno);
		return go_on(i);
	case STOP_FAILED:
		if (memory_get(i, i->base + i->image->config, &i->config, sizeof i->config))
			return inject_fail(i, "the agent gave up", 0);
		return inject_fail(i, "the agent gave up", i->config.error);
	}
	return inject_fail(i, "the agent stopped for no known reason", 0);
}

static int put_off(struct injection *i, int sig)
{
	if (i->put_off_count < PUT_OFF)
		i->put_off[i->put_off_count++] = (uint8_t)sig;
	return go_on(i);
}

static int crashed(struct injection *i, int sig)
{
	struct user_regs_struct regs = {0};

	machine_get(i->tid, &regs);
	snprintf(i->text, sizeof i->text, "the agent crashed by signal %d at 0x%llx", sig,
		 (unsigned long long)(machine_pc(&regs) - i->base));
	return inject_fail(i, i->text, 0);
}

int inject_step(struct injection *i, int status)
{
	struct user_regs_struct regs;
	int sig = WSTOPSIG(status), e;
	int64_t result;

	if (status >> 16) /* a group stop; afterwards it stops by itself, once more */
		return sig == SIGTRAP ? go_on(i) : put_off(i, SIGSTOP);
	if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGSYS)
		return crashed(i, sig);
	if (sig != SIGTRAP)
		return put_off(i, sig);
	e = machine_get(i->tid, &regs);
	if (e)
		return inject_fail(i, "its registers cannot be read", e);
	result = machine_result(&regs);
	switch (i->phase) {
	case INJECT_STUB:
		if (machine_stop(&regs) == STOP_REFUSED)
			return begin_copy(i, 0);
		i->phase = INJECT_AGENT;
		return agent_stopped(i, &regs);
	case INJECT_MAP:
		if (result < 0 && result > -4096)
			return inject_fail(i, "it may not map memory", (int)result);
		i->base = (uint64_t)result;
		return write_image(i) ? -1 : protect_next(i);
	case INJECT_PROTECT:
		if (result)
			return inject_fail(i, "it may not protect memory", (int)result);
		return protect_next(i);
	case INJECT_AGENT:
		return agent_stopped(i, &regs);
	}
	return -1;
}

int inject_end(struct injection *i)
{
	/* SIGSYS is how calls are caught: a mask that blocks it would kill the program. */
	uint64_t mask = i->mask & ~(1ull << (SIGSYS - 1));

	if (i->poked)
		memory_put(i, i->code_at, i->code, i->code_size);
	if (i->masked) {
		machine_set(i->tid, &i->saved);
		ptrace(PTRACE_SETSIGMASK, i->tid, sizeof mask, &mask);
	}
	if (i->memory >= 0)
		close(i->memory);
	for (uint32_t n = 0; n < i->put_off_count; n++)
		syscall(SYS_tgkill, i->tid, i->tid, i->put_off[n]);
	return ptrace(PTRACE_DETACH, i->tid, 0, 0) ? -1 : 0;
}

void inject_gone(struct injection *i)
{
	if (i->memory >= 0)
		close(i->memory);
}
