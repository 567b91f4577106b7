/* SPDX-License-Identifier: Apache-2.0 */
/* Injection on x86-64: registers, and the instructions that make a system call in the program and trap. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
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

void machine_call(struct user_regs_struct *regs, uint64_t code_at, int first, uint64_t nr, const uint64_t args[6])
{
	regs->rip = code_at + (first ? 0 : AFTER_MOV);
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

uint64_t machine_config(const struct user_regs_struct *regs)
{
	return regs->rsi;
}

/*
 * rsi path; rbx size of the image; r12, r13 place and size of its data; r14 the agent's entry; r15 its configuration.
 * Loads rax first: execve's return overwrites it after the exec stop.
 */
__asm__(".pushsection .rodata\n"
	"	.globl machine_stub, machine_stub_size\n"
	"	.hidden machine_stub, machine_stub_size\n"
	"machine_stub:\n"
	"	mov $257, %eax\n" /* openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC) */
	"	mov $-100, %rdi\n"
	"	mov $02000000, %edx\n"
	"	syscall\n"
	"	mov %eax, %ebp\n"
	"	test %eax, %eax\n"
	"	js 1f\n"
	"	mov $9, %eax\n" /* mmap(wish, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) */
	"	mov %r9, %rdi\n"
	"	mov %rbx, %rsi\n"
	"	mov $5, %edx\n"
	"	mov $2, %r10d\n"
	"	mov %rbp, %r8\n"
	"	xor %r9d, %r9d\n"
	"	syscall\n"
	"	mov %rax, %rbx\n"
	"	mov $3, %eax\n" /* close(fd) */
	"	mov %ebp, %edi\n"
	"	syscall\n"
	"	mov %rbx, %rax\n"
	"	cmp $-4096, %rbx\n"
	"	ja 1f\n"
	"	mov $10, %eax\n" /* mprotect(data, size, PROT_READ | PROT_WRITE) */
	"	lea (%rbx, %r12), %rdi\n"
	"	mov %r13, %rsi\n"
	"	mov $3, %edx\n"
	"	syscall\n"
	"	test %eax, %eax\n"
	"	jnz 1f\n"
	"	mov %r15, %rdi\n"
	"	add %r14, %rbx\n"
	"	jmp *%rbx\n"
	"1:	mov $4, %edi\n" /* STOP_REFUSED */
	"	int3\n"
	"machine_stub_end:\n"
	"	.balign 4\n"
	"machine_stub_size:\n"
	"	.long machine_stub_end - machine_stub\n"
	".popsection\n");

void machine_start(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
		   uint64_t config, uint64_t wish)
{
	machine_enter(regs, code_at);
	regs->rsi = path;
	regs->rbx = image->span;
	regs->r12 = image->data_at;
	regs->r13 = image->data_size;
	regs->r14 = image->entry;
	regs->r15 = config;
	regs->r9 = wish;
}

/*
 * rsi path; rbx size of the image; r12 where it is wished; r10 MAP_PRIVATE, r9 0; r14 the agent's entry, and the rest
 * as that wants it. As short as can be: what the program has there is put back by its own hands.
 */
__asm__(".pushsection .rodata\n"
	"	.globl machine_alone, machine_alone_size, machine_alone_waits\n"
	"	.hidden machine_alone, machine_alone_size, machine_alone_waits\n"
	"machine_alone:\n"
	"	mov $257, %eax\n" /* openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC) */
	"	syscall\n"
	"	mov %eax, %r8d\n"
	"	mov %r12, %rdi\n"
	"	mov %rbx, %rsi\n"
	"	push $5\n"
	"	pop %rdx\n"
	"	push $9\n" /* mmap(wish, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) */
	"	pop %rax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	js 1f\n"
	"	add %r14, %rax\n"
	"	jmp *%rax\n"
	"1:	mov %r8d, %edi\n" /* close(fd) */
	"	push $3\n"
	"	pop %rax\n"
	"	syscall\n"
	"	mov $1 << 27, %ecx\n"
	"2:	pause\n"
	"	dec %ecx\n"
	"	jnz 2b\n"
	"	int3\n"
	"machine_alone_end:\n"
	"	.balign 4\n"
	"machine_alone_size:\n"
	"	.long machine_alone_end - machine_alone\n"
	"machine_alone_waits:\n"
	"	.long 2b - machine_alone\n"
	".popsection\n");

void machine_start_alone(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
			 uint64_t config, uint64_t wish)
{
	regs->rip = code_at;
	regs->rsp = (config - 128) & ~15ull;
	regs->rdi = (uint64_t)AT_FDCWD;
	regs->rsi = path;
	regs->rdx = O_RDONLY | O_CLOEXEC;
	regs->r10 = MAP_PRIVATE;
	regs->r9 = 0;
	regs->r12 = wish;
	regs->rbx = image->span;
	regs->rbp = image->data_at;
	regs->r13 = image->data_size;
	regs->r14 = image->alone;
	regs->r15 = config;
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
	regs->rdi = 0;
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

void machine_jump(struct user_regs_struct *regs, uint64_t to)
{
	regs->rip = to;
}
