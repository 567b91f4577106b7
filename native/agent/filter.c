/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters that the program installs. They were written for the program's calls and would kill it for the
 * agent's: leaving a signal frame, copying memory, waiting for the proxy. A few instructions put in front of a filter
 * let these through. They ask for numbers and arguments, not for the address: a filter outlives an exec, and the next
 * image has its agent elsewhere. All else, the program's calls at the gate among it, meets the filter as it was given.
 *
 * Also here: strict mode, in which a thread may make four calls and no others, not even those of the agent. It becomes
 * a filter, which outlives nothing, and so may ask for the address. It is the agent that sees a call that is too much,
 * and ends the thread as strict mode would (by SIGKILL; a filter can only say SIGSYS); the filter stops who gets by
 * the agent. What remains of a difference: rdtsc goes on to work, and /proc/PID/status says 2 for the mode.
 */
#include "agent.h"

struct insn {
	uint16_t code;
	uint8_t yes, no;
	uint32_t k;
};

struct fprog {
	uint16_t len, pad[3];
	uint64_t insns;
};

enum {
	LOAD = 0x20,	     /* a word of struct seccomp_data */
	LOAD_CONSTANT = 0x00,
	JUMP = 0x05,
	JUMP_EQUAL = 0x15,
	RETURN = 0x06,
	JUMP_GREATER = 0x25,
	AT_NR = 0, AT_ARCH = 4, AT_ADDRESS = 8, AT_ARGS = 16,
	ALLOW = 0x7fff0000, KILL_THREAD = 0,
	INSNS_MAX = 4096,
	SET_SECCOMP = 22, GET_SECCOMP = 21, SET_NO_NEW_PRIVS = 38, /* of prctl */
};

static const uint16_t always[] = {
	NR_rt_sigreturn, NR_rt_sigprocmask, NR_futex, NR_sched_yield, NR_process_vm_readv, NR_process_vm_writev,
	NR_getpid, NR_gettid, NR_sigaltstack, NR_tgkill, NR_rt_tgsigqueueinfo, NR_clock_gettime, NR_ppoll,
	NR_nanosleep, NR_munmap,
	NR_madvise, NR_close,
};

/* Only with this value of this argument; from PROXIED on, only where there is a proxy to talk to. */
static const struct {
	uint16_t nr, arg;
	uint32_t value;
} some[] = {
	{NR_mmap, 2, 3},   /* to be read and written, but not run */
	{NR_kill, 1, 0},   /* is it there? */
	{NR_prctl, 0, 59}, /* to catch calls in a new thread */
	{NR_sendmsg, 0, PRIVATE_LIFELINE},
	{NR_recvmsg, 0, PRIVATE_LIFELINE},
	{NR_fallocate, 0, PRIVATE_CHANNEL},
};

enum { ALWAYS = sizeof always / sizeof always[0], SOME = sizeof some / sizeof some[0], PROXIED = 3 };

/* The number of instructions written; the last one leaves the accumulator as a filter finds it. */
static uint32_t preamble(struct insn *to, uint32_t count)
{
	uint32_t n = 0, allow = 3 + ALWAYS + 3 * count + 1, end = allow + 1;

	to[n++] = (struct insn){LOAD, 0, 0, AT_ARCH};
	to[n++] = (struct insn){JUMP_EQUAL, 0, (uint8_t)(end - 2), ARCH_AUDIT};
	to[n++] = (struct insn){LOAD, 0, 0, AT_NR};
	for (uint32_t i = 0; i < ALWAYS; i++, n++)
		to[n] = (struct insn){JUMP_EQUAL, (uint8_t)(allow - n - 1), 0, always[i]};
	for (uint32_t i = 0; i < count; i++) {
		to[n++] = (struct insn){JUMP_EQUAL, 0, 2, some[i].nr};
		to[n++] = (struct insn){LOAD, 0, 0, AT_ARGS + 8u * some[i].arg};
		to[n] = (struct insn){JUMP_EQUAL, (uint8_t)(allow - n - 1), (uint8_t)(end - n - 1), some[i].value};
		n++;
	}
	to[n++] = (struct insn){JUMP, 0, 0, 1};
	to[n++] = (struct insn){RETURN, 0, 0, ALLOW};
	to[n++] = (struct insn){LOAD_CONSTANT, 0, 0, 0};
	return n;
}

static int64_t make(struct call *c)
{
	return c->route == ROUTE_PROXY ? borrow_route(c) : dispatch_kernel(c);
}

/* seccomp(SECCOMP_SET_MODE_FILTER, flags, prog), or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog). */
int64_t filter_install(struct call *c)
{
	uint32_t count = c->thread->process->channel ? SOME : PROXIED, before = 3 + ALWAYS + 3 * count + 3;
	uint64_t given = c->args[2], size;
	struct insn *insns;
	struct fprog p;
	int64_t r;

	chunk_map_all();
	if (memory_read(&p, given, sizeof p) < sizeof p || !p.len || p.len + before > INSNS_MAX)
		return make(c);
	size = sizeof *insns * (p.len + before);
	insns = memory_pages(size);
	if (!insns)
		return -ENOMEM_;
	if (memory_read(insns + before, p.insns, sizeof *insns * p.len) == sizeof *insns * p.len) {
		p.len = (uint16_t)(p.len + preamble(insns, count));
		p.insns = (uint64_t)insns;
		c->args[2] = (uint64_t)&p;
	}
	r = make(c);
	c->args[2] = given;
	GATE2(NR_munmap, insns, size);
	return r;
}

/* ---- strict mode ------------------------------------------------------------------------------------------------- */

static const uint16_t strict_calls[] = {NR_read, NR_write, NR_exit, NR_rt_sigreturn};
static const uint16_t strict_foreign[] = {3, 4, 1, 119}; /* the same four */

enum { STRICT_CALLS = 4, STRICT_INSNS = 256 };

/* The accumulator holds the number, before and after. */
static struct insn *allow(struct insn *to, uint32_t nr)
{
	*to++ = (struct insn){JUMP_EQUAL, 0, 1, nr};
	*to++ = (struct insn){RETURN, 0, 0, ALLOW};
	return to;
}

static struct insn *allow_with(struct insn *to, uint32_t nr, uint32_t arg, uint32_t value)
{
	*to++ = (struct insn){JUMP_EQUAL, 0, 4, nr};
	*to++ = (struct insn){LOAD, 0, 0, AT_ARGS + 8 * arg};
	*to++ = (struct insn){JUMP_EQUAL, 0, 1, value};
	*to++ = (struct insn){RETURN, 0, 0, ALLOW};
	*to++ = (struct insn){LOAD, 0, 0, AT_NR};
	return to;
}

/* What the agent calls from its gate while it completes one of the four; nothing that reaches another process. */
static struct insn *allow_agent(struct insn *to, const struct thread *t)
{
	static const uint16_t to_itself[] = {NR_process_vm_readv, NR_process_vm_writev, NR_tgkill,
					     NR_rt_tgsigqueueinfo};
	uint32_t count = t->process->channel ? SOME : PROXIED;

	for (uint32_t i = 0; i < ALWAYS; i++) {
		int is_own = 0;

		for (uint32_t k = 0; k < 4; k++)
			is_own |= always[i] == to_itself[k];
		if (is_own) {
			to = allow_with(to, always[i], 0, process_main.pid);
			to = allow_with(to, always[i], 0, t->tid);
		} else {
			to = allow(to, always[i]);
		}
	}
	for (uint32_t i = 0; i < count; i++)
		if (some[i].nr != NR_prctl)
			to = allow_with(to, some[i].nr, some[i].arg, some[i].value);
	return allow(to, NR_rt_sigaction);
}

static uint16_t strict_filter(struct insn *begin, const struct thread *t)
{
	uint64_t first = (uint64_t)range_begin, last = (uint64_t)range_end;
	struct insn *to = begin;

	*to++ = (struct insn){LOAD, 0, 0, AT_ARCH};
	*to++ = (struct insn){JUMP_EQUAL, 2 + 2 * STRICT_CALLS, 0, ARCH_AUDIT};
	*to++ = (struct insn){LOAD, 0, 0, AT_NR};
	for (int i = 0; i < STRICT_CALLS; i++)
		to = allow(to, strict_foreign[i]);
	*to++ = (struct insn){RETURN, 0, 0, KILL_THREAD};
	*to++ = (struct insn){LOAD, 0, 0, AT_NR};
	for (int i = 0; i < STRICT_CALLS; i++)
		to = allow(to, strict_calls[i]);
	*to++ = (struct insn){LOAD, 0, 0, AT_ADDRESS + 4};
	*to++ = (struct insn){JUMP_EQUAL, 1, 0, (uint32_t)(first >> 32)};
	*to++ = (struct insn){RETURN, 0, 0, KILL_THREAD};
	*to++ = (struct insn){LOAD, 0, 0, AT_ADDRESS}; /* of the next instruction */
	*to++ = (struct insn){JUMP_GREATER, 1, 0, (uint32_t)first};
	*to++ = (struct insn){RETURN, 0, 0, KILL_THREAD};
	*to++ = (struct insn){JUMP_GREATER, 0, 1, (uint32_t)last};
	*to++ = (struct insn){RETURN, 0, 0, KILL_THREAD};
	*to++ = (struct insn){LOAD, 0, 0, AT_NR};
	to = allow_agent(to, t);
	*to++ = (struct insn){RETURN, 0, 0, KILL_THREAD};
	return (uint16_t)(to - begin);
}

/* prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), or seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL). */
int64_t filter_strict(struct call *c)
{
	struct insn insns[STRICT_INSNS];
	struct fprog p = {.insns = (uint64_t)insns};
	int64_t r;

	/* Who has a filter gets EINVAL, or what his filter says. */
	if (gate(NR_prctl, GET_SECCOMP, 0, 0, 0, 0, 0))
		return make(c);
	chunk_map_all();
	p.len = strict_filter(insns, c->thread);
	r = gate(NR_prctl, SET_SECCOMP, 2, (uint64_t)&p, 0, 0, 0);
	if (r == -EACCES_) { /* a thread without privileges must give up the ones it will never have again */
		gate(NR_prctl, SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
		r = gate(NR_prctl, SET_SECCOMP, 2, (uint64_t)&p, 0, 0, 0);
	}
	if (r)
		return r;
	c->thread->strict = 1;
	thread_bar(c->thread); /* each of its calls is to be looked at */
	return 0;
}

int filter_strict_allows(uint64_t nr, int is_foreign)
{
	const uint16_t *calls = is_foreign ? strict_foreign : strict_calls;

	for (int i = 0; i < STRICT_CALLS; i++)
		if (calls[i] == nr)
			return 1;
	return 0;
}

/* Its status is seen only where the thread is the first one and others outlive it: not as killed, then. */
void filter_strict_end(struct call *c)
{
	struct thread *t = c->thread;

	record_last(c);
	if (thread_is_last(t))
		GATE3(NR_tgkill, t->process->pid, t->tid, SIGKILL_);
	c->nr = NR_exit;
	c->args[0] = SIGKILL_;
	life_exit(c);
}
