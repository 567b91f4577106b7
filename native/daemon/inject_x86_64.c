/* SPDX-License-Identifier: Apache-2.0 */
/* Injection on x86-64: registers, and the instructions that make a system call in the program and trap. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "inject.h"

enum { AFTER_MOV = 5, USER64_CS = 0x33, FSGSBASE = 2 };

const uint32_t machine_elf = EM_X86_64, machine_relative = R_X86_64_RELATIVE;
const uint64_t machine_mmap = 9, machine_mprotect = 10;

/* mov $nr, %eax; syscall; int3. The mov is for the first call: execve's return overwrites rax after the exec stop. */
void machine_code(uint8_t code[CODE_SIZE], uint64_t nr)
{
	uint32_t number = (uint32_t)nr;

	code[0] = 0xb8;
	memcpy(code + 1, &number, sizeof number);
	code[5] = 0x0f;
	code[6] = 0x05;
	code[7] = 0xcc;
}

int machine_get(pid_t tid, struct user_regs_struct *regs)
{
	struct iovec io = {regs, sizeof *regs};

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io))
		return -errno;
	return io.iov_len == sizeof *regs && regs->cs == USER64_CS ? 0 : -ENOEXEC;
}

/* orig_rax -1: whatever happened was no system call that the kernel might restart. */
int machine_set(pid_t tid, const struct user_regs_struct *regs)
{
	struct user_regs_struct copy = *regs;
	struct iovec io = {&copy, sizeof copy};

	copy.orig_rax = (unsigned long long)-1;
	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &io) ? -errno : 0;
}

uint64_t machine_pc(const struct user_regs_struct *regs)
{
	return regs->rip;
}

uint64_t machine_sp(const struct user_regs_struct *regs)
{
	return regs->rsp;
}

void machine_call(struct user_regs_struct *regs, int first, uint64_t nr, const uint64_t args[6])
{
	if (!first)
		regs->rip += AFTER_MOV;
	regs->rax = nr;
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
}

int64_t machine_result(const struct user_regs_struct *regs)
{
	return (int64_t)regs->rax;
}

uint64_t machine_stop(const struct user_regs_struct *regs)
{
	return regs->rdi;
}

/* int3 leaves the address after it. */
void machine_resume(struct user_regs_struct *regs)
{
	(void)regs;
}

/* Below what the kernel has laid out on the program's stack, which starts at rsp. */
void machine_enter(struct user_regs_struct *regs, uint64_t entry)
{
	regs->rip = entry;
	regs->rsp = (regs->rsp - 1024) & ~15ull;
}

void machine_fresh(struct user_regs_struct *regs)
{
	regs->rax = 0;
}

/* The kernel says whether programs may read the fs base; rorx is BMI2's. */
int machine_has_keys(void)
{
	return getauxval(AT_HWCAP2) & FSGSBASE && __builtin_cpu_supports("bmi2");
}
