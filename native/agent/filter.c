/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters that the program installs. They were written for the program's calls and would kill it for the
 * agent's: leaving a signal frame, copying memory, waiting for the proxy. A few instructions put in front of a filter
 * let these through. They ask for numbers and arguments, not for the address: a filter outlives an exec, and the next
 * image has its agent elsewhere. All else, the program's calls at the gate among it, meets the filter as it was given.
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
	AT_NR = 0, AT_ARCH = 4, AT_ARGS = 16,
	ALLOW = 0x7fff0000,
	INSNS_MAX = 4096,
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
