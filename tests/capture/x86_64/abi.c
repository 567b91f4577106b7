/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processor must look like after a system call: everything as before, except rax, rcx and r11. Compilers rely
 * on it around inline calls: the red zone, general registers, flags, vector and mask registers, rounding modes.
 * Each is checked with a quick call, and while a timer's handler makes calls of its own.
 */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

uint64_t zone[6], registers[12], flags[1]; /* named by the assembly below */
static volatile sig_atomic_t signals;
static unsigned char before[32][64] __attribute__((aligned(64))), after[32][64] __attribute__((aligned(64)));
static uint64_t masks_before[3], masks_after[3];
static sigjmp_buf escape;

/* Six words below the stack pointer, the lowest at its very end. */
static __attribute__((naked)) void red_zone(void)
{
	__asm__("movq $0x1111, -8(%rsp)\n"
		"movq $0x2222, -16(%rsp)\n"
		"movq $0x3333, -24(%rsp)\n"
		"movq $0x4444, -64(%rsp)\n"
		"movq $0x5555, -120(%rsp)\n"
		"movq $0x6666, -128(%rsp)\n"
		"mov $39, %eax\n" /* getpid */
		"syscall\n"
		"lea zone(%rip), %rdx\n"
		"mov -8(%rsp), %rcx\n mov %rcx, (%rdx)\n"
		"mov -16(%rsp), %rcx\n mov %rcx, 8(%rdx)\n"
		"mov -24(%rsp), %rcx\n mov %rcx, 16(%rdx)\n"
		"mov -64(%rsp), %rcx\n mov %rcx, 24(%rdx)\n"
		"mov -120(%rsp), %rcx\n mov %rcx, 32(%rdx)\n"
		"mov -128(%rsp), %rcx\n mov %rcx, 40(%rdx)\n"
		"ret\n");
}

static __attribute__((naked)) void general(void)
{
	__asm__("push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
		"mov $0xb0, %rbx\n mov $0xb1, %rbp\n mov $0xb2, %rdi\n mov $0xb3, %rsi\n"
		"mov $0xb4, %rdx\n mov $0xb5, %r8\n mov $0xb6, %r9\n mov $0xb7, %r10\n"
		"mov $0xb8, %r12\n mov $0xb9, %r13\n mov $0xba, %r14\n mov $0xbb, %r15\n"
		"mov $39, %eax\n"
		"syscall\n"
		"lea registers(%rip), %rax\n"
		"mov %rbx, (%rax)\n mov %rbp, 8(%rax)\n mov %rdi, 16(%rax)\n mov %rsi, 24(%rax)\n"
		"mov %rdx, 32(%rax)\n mov %r8, 40(%rax)\n mov %r9, 48(%rax)\n mov %r10, 56(%rax)\n"
		"mov %r12, 64(%rax)\n mov %r13, 72(%rax)\n mov %r14, 80(%rax)\n mov %r15, 88(%rax)\n"
		"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
		"ret\n");
}

/* Carry, zero and direction set before the call; the flags after it. */
static __attribute__((naked)) void condition(void)
{
	__asm__("mov $39, %eax\n"
		"pushf\n orq $0x441, (%rsp)\n popf\n"
		"syscall\n"
		"pushf\n cld\n pop %rdx\n"
		"mov %rdx, flags(%rip)\n"
		"ret\n");
}

#define LOAD(n) "vmovdqu64 " #n "*64(%0), %%zmm" #n "\n"
#define STORE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%1)\n"
#define EACH(op)                                                                                                      \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15) op(16)  \
	op(17) op(18) op(19) op(20) op(21) op(22) op(23) op(24) op(25) op(26) op(27) op(28) op(29) op(30) op(31)

static __attribute__((target("avx512f,avx512bw"), noinline)) void vectors_512(void)
{
	__asm__ volatile(EACH(LOAD)
			 "kmovq (%2), %%k1\n kmovq 8(%2), %%k2\n kmovq 16(%2), %%k3\n"
			 "mov $39, %%eax\n"
			 "syscall\n"
			 "kmovq %%k1, (%3)\n kmovq %%k2, 8(%3)\n kmovq %%k3, 16(%3)\n"
			 EACH(STORE)
			 "vzeroupper\n"
			 :
			 : "r"(before), "r"(after), "r"(masks_before), "r"(masks_after)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

#define LOAD_SSE(n) "movdqu " #n "*64(%0), %%xmm" #n "\n"
#define STORE_SSE(n) "movdqu %%xmm" #n ", " #n "*64(%1)\n"
#define SIXTEEN(op)                                                                                                   \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)

static __attribute__((noinline)) void vectors_128(void)
{
	__asm__ volatile(SIXTEEN(LOAD_SSE)
			 "mov $39, %%eax\n"
			 "syscall\n"
			 SIXTEEN(STORE_SSE)
			 :
			 : "r"(before), "r"(after)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static int vectors_kept(void)
{
	if (__builtin_cpu_supports("avx512bw")) {
		memset(after, 0, sizeof after);
		vectors_512();
		return !memcmp(before, after, sizeof before) && !memcmp(masks_before, masks_after, sizeof masks_after);
	}
	memset(after, 0, sizeof after);
	vectors_128();
	for (int i = 0; i < 16; i++)
		if (memcmp(before[i], after[i], 16))
			return 0;
	return 1;
}

static int zone_kept(void)
{
	static const uint64_t expected[6] = {0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666};

	memset(zone, 0, sizeof zone);
	red_zone();
	return !memcmp(zone, expected, sizeof zone);
}

static int registers_kept(void)
{
	general();
	for (unsigned i = 0; i < 12; i++)
		if (registers[i] != 0xb0 + i)
			return 0;
	return 1;
}

static int flags_kept(void)
{
	condition();
	return (flags[0] & 0x441) == 0x441;
}

/* Rounding towards zero and unmasked nothing, in the vector unit and in the old one. */
static int modes_kept(void)
{
	uint32_t mode = 0x7f80, mode_after;
	uint16_t word = 0x0f7f, word_after;

	__asm__ volatile("ldmxcsr %2\n fldcw %3\n mov $39, %%eax\n syscall\n stmxcsr %0\n fnstcw %1\n fninit\n"
			 : "=m"(mode_after), "=m"(word_after)
			 : "m"(mode), "m"(word)
			 : "rax", "rcx", "r11", "memory");
	mode = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(mode));
	return mode_after == 0x7f80 && word_after == 0x0f7f;
}

static void handler(int signal)
{
	unsigned char keep[32][64];

	(void)signal;
	signals++;
	getppid();
	memset(keep, 0xee, sizeof keep); /* uses vector registers */
	__asm__ volatile("" : : "r"(keep) : "memory");
	getppid();
}

static void jump(int signal)
{
	siglongjmp(escape, signal);
}

static void storm(const char *name, int (*kept)(void))
{
	struct itimerval every = {{0, 200}, {0, 200}}, off = {0};
	int bad = 0;

	signals = 0;
	setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < 20000; i++)
		bad += !kept();
	setitimer(ITIMER_REAL, &off, NULL);
	printf("%s under a storm: %d bad\n", name, bad);
	check("signals came", signals > 0);
}

int main(void)
{
	volatile int faulted = 1;
	char *volatile null = NULL;

	begin();
	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 64; j++)
			before[i][j] = (unsigned char)(i * 7 + j * 3 + 1);
	for (int i = 0; i < 3; i++)
		masks_before[i] = 0x1234567890abcdefull + i;
	signal(SIGALRM, handler);
	for (int i = 0; i < 3; i++) { /* the second time a place may be served in another way than the first */
		check("red zone", zone_kept());
		check("general registers", registers_kept());
		check("flags", flags_kept());
		check("vector registers", vectors_kept());
		check("rounding modes", modes_kept());
	}
	storm("red zone", zone_kept);
	storm("general registers", registers_kept);
	storm("vector registers", vectors_kept);
	signal(SIGSEGV, jump);
	if (!sigsetjmp(escape, 1)) {
		(void)*(volatile char *)null;
		faulted = 0;
	}
	check("reading NULL faults", faulted);
	return 0;
}
