/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processor must look like after a system call: everything as before, except rax, rcx and r11. Compilers rely
 * on it around inline calls: the red zone, general registers, flags, vector and mask registers, rounding modes.
 * Each site is run often enough to be served in every way there is, and again while a timer's handler makes calls.
 */
#include "enter.h"
#include "parts.h"

#include <setjmp.h>
#include <sys/time.h>

enum { OFTEN = 300, STORM = 20000 };

static volatile sig_atomic_t signals;
static unsigned char before[32][64] __attribute__((aligned(64))), after[32][64] __attribute__((aligned(64)));
static uint64_t masks_before[3], masks_after[3];
static sigjmp_buf escape;
static uint32_t lost;

extern char site[], behind[];

/* getpid, and back to whoever has entered here. */
__asm__(".text\n"
	"site: mov $39, %eax\n"
	"syscall\n"
	"behind: jmp enter_back\n");

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

static int registers_kept(void)
{
	static unsigned turn;
	uint64_t given[STATE], now[STATE];

	state_fill(given, turn++ % 2 ? FLAGS_SEEN : 0);
	memcpy(now, given, sizeof now);
	enter(now, site);
	given[RAX] = (uint64_t)getpid();
	lost = state_lost(given, now, behind, FLAGS_SEEN) | (now[RAX] != given[RAX]) << RAX;
	return !lost;
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

static void often(int (*kept)(void))
{
	int bad = 0;

	for (int i = 0; i < OFTEN; i++)
		bad += !kept();
	printf("bad: %d\n", bad);
	check("kept", !bad);
}

static void storm(int (*kept)(void))
{
	struct itimerval every = {{0, 200}, {0, 200}}, off = {0};
	int bad = 0;

	signal(SIGALRM, handler);
	signals = 0;
	setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < STORM; i++)
		bad += !kept();
	setitimer(ITIMER_REAL, &off, NULL);
	printf("bad: %d\n", bad);
	check("kept", !bad);
	check("signals came", signals > 0);
}

/* What one kind of register loses is told apart from what another does. */
static void only(uint32_t wanted)
{
	uint32_t all = 0;

	for (int i = 0; i < OFTEN; i++) {
		registers_kept();
		all |= lost;
	}
	printf("lost: %s\n", state_names(all & wanted));
	check("kept", !(all & wanted));
}

static void red_zone(void)
{
	only(1u << ZONE);
}

static void general(void)
{
	only((1u << FLAGS) - 1 - (1u << RCX) - (1u << R11));
}

static void flags(void)
{
	only(1u << FLAGS);
}

static void side_effects(void)
{
	only(1u << RCX | 1u << R11);
}

static void vectors(void)
{
	often(vectors_kept);
}

static void modes(void)
{
	often(modes_kept);
}

static void registers_in_storm(void)
{
	storm(registers_kept);
	printf("last lost: %s\n", state_names(lost));
}

static void vectors_in_storm(void)
{
	storm(vectors_kept);
}

static void modes_in_storm(void)
{
	storm(modes_kept);
}

static void null(void)
{
	volatile int faulted = 1;
	char *volatile nothing = NULL;

	signal(SIGSEGV, jump);
	if (!sigsetjmp(escape, 1)) {
		(void)*(volatile char *)nothing;
		faulted = 0;
	}
	check("reading faults", faulted);
	if (!sigsetjmp(escape, 1)) {
		((void (*)(void))nothing)();
		faulted = 0;
	}
	check("calling faults", faulted);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"red zone", red_zone},
		{"general registers", general},
		{"flags", flags},
		{"rcx and r11", side_effects},
		{"vector registers", vectors},
		{"rounding modes", modes},
		{"registers in a storm", registers_in_storm},
		{"vector registers in a storm", vectors_in_storm},
		{"rounding modes in a storm", modes_in_storm},
		{"NULL", null},
	};

	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 64; j++)
			before[i][j] = (unsigned char)(i * 7 + j * 3 + 1);
	for (int i = 0; i < 3; i++)
		masks_before[i] = 0x1234567890abcdefull + i;
	return RUN_PARTS(parts, argc, argv);
}
