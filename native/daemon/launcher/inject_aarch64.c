/* SPDX-License-Identifier: Apache-2.0 */
/* Injection on aarch64: registers, and the instructions that make a system call in the program and trap. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "inject.h"

const uint32_t machine_elf = EM_AARCH64, machine_relative = R_AARCH64_RELATIVE;
const uint64_t machine_mmap = 222, machine_mprotect = 226;

/* svc #0; brk #0. The number is in x8, which execve's return leaves alone; it does clear x0, mmap's address. */
void machine_code(uint8_t code[CODE_SIZE], uint64_t nr)
{
	const uint32_t words[2] = {0xd4000001u, 0xd4200000u};

	(void)nr;
	memcpy(code, words, sizeof words);
}

int machine_get(pid_t tid, struct user_regs_struct *regs)
{
	struct iovec io = {regs, sizeof *regs};

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io))
		return -errno;
	return io.iov_len == sizeof *regs ? 0 : -ENOEXEC;
}

/* The call number is a register set of its own here; -1: nothing to restart. */
int machine_set(pid_t tid, const struct user_regs_struct *regs)
{
	struct user_regs_struct copy = *regs;
	int none = -1;
	struct iovec io = {&copy, sizeof copy}, call = {&none, sizeof none};

	if (ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &io))
		return -errno;
	return ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &call) ? -errno : 0;
}

uint64_t machine_pc(const struct user_regs_struct *regs)
{
	return regs->pc;
}

uint64_t machine_sp(const struct user_regs_struct *regs)
{
	return regs->sp;
}

/* Not written yet: programs get copies of their own. */
const uint8_t machine_stub[1];
const uint32_t machine_stub_size = 0;

void machine_start(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
		   uint64_t config, uint64_t wish)
{
	(void)wish;
	(void)regs;
	(void)image;
	(void)code_at;
	(void)path;
	(void)config;
}

/* Nor does any agent start by itself. */
const uint8_t machine_alone[1];
const uint32_t machine_alone_size = 0, machine_alone_waits = 0;

void machine_start_alone(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
			 uint64_t config, uint64_t wish)
{
	machine_start(regs, image, code_at, path, config, wish);
}

void machine_call(struct user_regs_struct *regs, uint64_t code_at, int first, uint64_t nr, const uint64_t args[6])
{
	(void)first;
	regs->pc = code_at;
	regs->regs[8] = nr;
	for (int i = 0; i < 6; i++)
		regs->regs[i] = args[i];
}

int64_t machine_result(const struct user_regs_struct *regs)
{
	return (int64_t)regs->regs[0];
}

uint64_t machine_stop(const struct user_regs_struct *regs)
{
	return regs->regs[0];
}

uint64_t machine_config(const struct user_regs_struct *regs)
{
	return regs->regs[1];
}

/* brk leaves its own address. */
void machine_resume(struct user_regs_struct *regs)
{
	regs->pc += 4;
}

void machine_enter(struct user_regs_struct *regs, uint64_t entry)
{
	regs->pc = entry;
	regs->regs[0] = 0;
	regs->sp = (regs->sp - 1024) & ~15ull;
}

void machine_fresh(struct user_regs_struct *regs)
{
	regs->regs[0] = 0;
}

int machine_has_keys(void)
{
	return 0;
}

void machine_jump(struct user_regs_struct *regs, uint64_t to)
{
	regs->pc = to;
}
