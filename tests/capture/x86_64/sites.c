/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call sites of every shape that compilers, libraries and hand-written code have, each run often enough to be served in
 * every way there is: number before it in any form, something of the result's right behind it, at the end of a cache
 * line and of a page, two close together, entered in the middle. After each run all registers, flags and the red zone
 * must be as the kernel alone leaves them, and the bytes around the code as they were.
 */
#include "enter.h"
#include "parts.h"

enum { OFTEN = 300, PAGES = 4, GETPGID = SYS_getpgid, NOBODY = 0x7ca5ca };

struct shape {
	const char *name;
	const char *code;
	int length, call; /* length, and where in it the (last) instruction stands */
	uint64_t changes; /* registers that the shape's own instructions change */
	int own_flags;    /* and so the flags */
};

#define CODE(text) text, sizeof text - 1
#define NUMBER "\xb8\x79\0\0\0"		/* mov $121, %eax */
#define CALL "\x0f\x05"			/* syscall */
#define ERROR "\x48\x3d\x01\xf0\xff\xff" /* cmp $-4095, %rax */

static const struct shape shapes[] = {
	{"mov; call", CODE(NUMBER CALL), 5, 0, 0},
	{"mov; call; cmp", CODE(NUMBER CALL ERROR), 5, 0, 1},
	{"call; cmp", CODE(CALL ERROR), 0, 0, 1},
	{"call alone", CODE(CALL), 0, 0, 0},
	{"call; nop", CODE(CALL "\x90\x90\x90\x90\x90\x90"), 0, 0, 0},
	{"mov to rax; call", CODE("\x48\xc7\xc0\x79\0\0\0" CALL), 7, 0, 0},
	{"mov; lea; call", CODE(NUMBER "\x48\x8d\x3f" CALL), 8, 0, 0},
	{"mov from a register; call", CODE("\x44\x89\xf0" CALL), 3, 0, 0}, /* mov %r14d, %eax: no such call */
	{"call; mov", CODE(NUMBER "\x90" CALL "\x48\x89\xc3"), 6, 1 << RBX, 0},
	{"call; test", CODE("\x90" CALL "\x48\x85\xc0"), 1, 0, 1},
	{"call; xchg", CODE("\x90" CALL "\x48\x93"), 1, 1 << RBX, 0},
	{"call; neg", CODE("\x90" CALL "\x48\xf7\xd8"), 1, 0, 1},
	{"call; short jump", CODE("\x90" CALL "\xeb\x02\x0f\x0b"), 1, 0, 0},
	{"call; conditional jump", CODE(CALL ERROR "\x73\x02\x0f\x0b"), 0, 0, 1},
	{"call; relative load", CODE("\x90" CALL "\x48\x8b\x1d\x02\0\0\0\xeb\x08" "12345678"), 1, 1 << RBX, 0},
	{"call; relative call", CODE("\x90" CALL "\x48\x8d\x64\x24\x80\xe8\x02\0\0\0\xeb\x01\xc3"
				     "\x48\x8d\xa4\x24\x80\0\0\0"), 1, 0, 0},
	{"call; pushf", CODE("\x90" CALL "\x48\x8d\x64\x24\x80\x9c\x5b\x48\x8d\xa4\x24\x80\0\0\0"), 1, 1 << RBX, 0},
	{"call; own rip", CODE("\x90" CALL "\x48\x8d\x1d\0\0\0\0\x48\x29\xcb"), 1, 1 << RBX, 1},
	{"two calls", CODE(NUMBER CALL "\x90" NUMBER CALL), 13, 0, 0},
	{"two calls with two bytes between", CODE(CALL "\x89\xc3" CALL), 4, 1 << RBX, 0},
	{"two calls in a row", CODE(CALL CALL), 2, 0, 0},
	{"three calls in a row, number first", CODE(NUMBER CALL CALL CALL), 9, 0, 0},
	{"jump back to the call", CODE(NUMBER CALL "\x48\xff\xcb\xb8\x79\0\0\0\x0f\x85\xf0\xff\xff\xff"), 5,
	 1 << RBX, 1},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

static unsigned char *area;

static unsigned char *pages(void)
{
	unsigned char *at = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(99);
	memset(at, 0xcc, PAGES * 4096);
	return at;
}

static void seal(unsigned char *at)
{
	MUST(mprotect(at, PAGES * 4096, PROT_READ | PROT_EXEC));
}

/* One run. What the code has computed from the call's result is folded into `answers`. */
static uint32_t once(const struct shape *shape, const unsigned char *code, const unsigned char *behind, uint64_t flags,
		     uint64_t *answers)
{
	uint64_t given[STATE], now[STATE];
	uint32_t lost;

	state_fill(given, flags);
	given[RAX] = GETPGID;
	given[RDI] = NOBODY;
	given[RBX] = 3;
	memcpy(now, given, sizeof now);
	enter(now, code);
	lost = state_lost(given, now, behind, shape->own_flags ? 0 : FLAGS_SEEN) & ~(uint32_t)shape->changes;
	if (shape->own_flags) /* r11 is the flags at the call, which the shape may have changed before it */
		lost &= ~(1u << R11);
	if (shape->own_flags && !(shape->changes & 1 << RBX) && (now[R11] & FLAGS_FIXED) != FLAGS_FIXED)
		lost |= 1u << R11;
	*answers = now[RAX];
	if (shape->changes & 1 << RBX)
		*answers = *answers * 31 + now[RBX];
	if (shape->own_flags)
		*answers = *answers * 31 + (now[FLAGS] & FLAGS_SEEN);
	return lost;
}

static void try(const struct shape *shape, int offset)
{
	unsigned char *code = area + offset, *end = code_end(memcpy(code, shape->code, (size_t)shape->length) +
							      shape->length);
	uint64_t answers, first[2] = {0, 0};
	int differs = 0, changed = 0;
	uint32_t lost = 0;

	(void)end;
	seal(area);
	for (int i = 0; i < OFTEN; i++) {
		lost |= once(shape, code, code + shape->call + 2, i % 2 ? FLAGS_SEEN : 0, &answers);
		if (i < 2)
			first[i] = answers;
		differs += answers != first[i % 2];
	}
	/* What follows and precedes the site is nobody's. */
	for (int i = 0; i < offset; i++)
		changed += area[i] != 0xcc;
	for (unsigned char *p = end; p < area + PAGES * 4096; p++)
		changed += *p != 0xcc;
	if (lost || differs || changed)
		printf("%s at %d: lost %s, %d answers differ, %d bytes around it changed\n", shape->name, offset,
		       state_names(lost), differs, changed);
	printf("%s at %d: %lx %lx\n", shape->name, offset, first[0], first[1]);
	munmap(area, PAGES * 4096);
	area = pages();
}

static void everywhere(int offset)
{
	area = pages();
	for (int i = 0; i < SHAPES; i++)
		try(&shapes[i], offset);
}

static void aligned(void)
{
	everywhere(4096);
}

static void odd(void)
{
	everywhere(4096 + 3);
}

/* The instruction's first byte is the last of a line, or of a page; then its second byte is the first but one. */
static void straddling(int boundary)
{
	area = pages();
	for (int i = 0; i < SHAPES; i++) {
		try(&shapes[i], boundary - 1 - shapes[i].call);
		try(&shapes[i], boundary - 2 - shapes[i].call);
		try(&shapes[i], boundary - 4 - shapes[i].call);
		try(&shapes[i], boundary - shapes[i].call);
	}
}

static void line(void)
{
	straddling(8192 - 128);
}

static void page(void)
{
	straddling(8192);
}

/* The last page before memory that is not there: nobody may look further. */
static void edge(void)
{
	for (int i = 0; i < SHAPES; i++) {
		const struct shape *shape = &shapes[i];

		area = pages();
		munmap(area + 8192, 8192);
		/* The jump back stands before the code, and the code's end is the end of the page. */
		unsigned char *back = area + 4096, *code = area + 8192 - 2 - shape->length;

		if (shape->own_flags && strstr(shape->name, "jump"))
			continue; /* jumps beyond its end */
		code_end(back);
		memcpy(code, shape->code, (size_t)shape->length);
		code[shape->length] = 0xeb; /* jmp back, by way of a longer jump */
		code[shape->length + 1] = (unsigned char)(-shape->length - 2 - 5);
		code[-5] = 0xe9;
		*(int *)(void *)(code - 4) = (int)(back - code);
		MUST(mprotect(area, 8192, PROT_READ | PROT_EXEC));
		uint64_t answers, last = 0;
		uint32_t lost = 0;
		for (int n = 0; n < OFTEN; n++) {
			lost |= once(shape, code, code + shape->call + 2, 0, &answers);
			if (n && answers != last)
				printf("%s: answers differ\n", shape->name);
			last = answers;
		}
		printf("%s: lost %s, %lx\n", shape->name, state_names(lost), last);
		munmap(area, 8192);
	}
}

static uint32_t enter_at(unsigned char *at, uint64_t rax, uint64_t flags, uint64_t *now)
{
	uint64_t given[STATE];

	state_fill(given, flags);
	given[RAX] = rax;
	given[RDI] = NOBODY;
	memcpy(now, given, sizeof given);
	enter(now, at);
	return state_lost(given, now, NULL, FLAGS_SEEN);
}

/* `mov $121,%eax; syscall` that has run often; then a jump right to the instruction, with another number. */
static void in_the_middle(void)
{
	static const int offsets[] = {4096, 4096 + 5, 8192 - 6, 8192 - 64 - 6, 8192 - 8};
	uint64_t now[STATE], bad = 0;

	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		unsigned char *code;
		uint32_t lost = 0;

		area = pages();
		code = area + offsets[i];
		code_end(memcpy(code, NUMBER CALL, 7) + 7);
		seal(area);
		for (int n = 0; n < OFTEN; n++) {
			lost |= enter_at(code, 0, 0, now);
			bad += now[RAX] != (uint64_t)-ESRCH;
		}
		for (int n = 0; n < OFTEN; n++) {
			lost |= enter_at(code + 5, SYS_getppid, FLAGS_SEEN, now);
			bad += now[RAX] != (uint64_t)getppid() || now[RCX] != (uint64_t)(uintptr_t)(code + 7);
			lost |= enter_at(code + 5, 100000, 0, now); /* no such call */
			bad += now[RAX] != (uint64_t)-ENOSYS;
			lost |= enter_at(code, 0, 0, now);
			bad += now[RAX] != (uint64_t)-ESRCH;
		}
		printf("%d: bad %lu lost %s\n", offsets[i], bad, state_names(lost));
		check("entered in the middle", !bad && !lost);
		munmap(area, PAGES * 4096);
	}
}

/* A jump to what stands behind the instruction: no call is made, and what stands there is done. */
static void behind(void)
{
	static const struct {
		const char *name, *code;
		int length, behind;
	} shapes_behind[] = {
		{"cmp", CODE(CALL ERROR), 2}, {"mov", CODE(NUMBER CALL "\x48\x89\xc3"), 7},
		{"inc", CODE(CALL "\x48\xff\xc3"), 2}, {"nothing", CODE(NUMBER CALL), 7},
		{"mov of a constant", CODE(CALL "\xbb\x05\0\0\0"), 2},
	};

	for (unsigned i = 0; i < sizeof shapes_behind / sizeof *shapes_behind; i++) {
		uint64_t now[STATE], calls = 0, jumps = 0;
		unsigned char *code;

		area = pages();
		code = area + 4096 + 64 * i;
		code_end(memcpy(code, shapes_behind[i].code, (size_t)shapes_behind[i].length) +
			 shapes_behind[i].length);
		seal(area);
		for (int n = 0; n < OFTEN; n++) {
			enter_at(code, GETPGID, 0, now);
			calls += now[RAX] == (uint64_t)-ESRCH;
		}
		for (int n = 0; n < OFTEN; n++) {
			enter_at(code + shapes_behind[i].behind, 77, 0, now);
			jumps += now[RAX] == 77 && now[RCX] == 0x7ca5c00000 + RCX;
		}
		printf("%s: %lu calls, %lu jumps, rbx %lx, flags %lx\n", shapes_behind[i].name, calls, jumps, now[RBX],
		       now[FLAGS] & FLAGS_SEEN);
		munmap(area, PAGES * 4096);
	}
}

/* read's number by xor, which sets flags; and `syscall; ret`, called. */
static void idioms(void)
{
	uint64_t now[STATE], first = 0;
	uint32_t lost = 0;
	int differs = 0;
	unsigned char *code;

	area = pages();
	code = area + 4096;
	code_end(memcpy(code, "\x31\xc0" CALL ERROR, 10) + 10); /* xor %eax, %eax */
	code_end(memcpy(code + 256, "\xe8\x10\0\0\0", 5) + 5);	 /* call 16 bytes further */
	memcpy(code + 256 + 5 + 16, NUMBER CALL "\xc3", 8);
	code_end(memcpy(code + 512, "\xe8\x10\0\0\0", 5) + 5);
	memcpy(code + 512 + 5 + 16, CALL "\xc3", 3);
	seal(area);
	for (int n = 0; n < OFTEN; n++) {
		lost |= enter_at(code, 5, FLAGS_SEEN, now) & ~(1u << FLAGS); /* descriptor NOBODY */
		first = n ? first : now[FLAGS];
		differs += now[RAX] != (uint64_t)-EBADF || now[FLAGS] != first;
	}
	printf("xor: %d differ, flags %lx, lost %s\n", differs, first & FLAGS_SEEN, state_names(lost));
	for (int at = 256; at <= 512; at += 256) {
		lost = 0;
		differs = 0;
		for (int n = 0; n < OFTEN; n++) {
			/* The call has overwritten the red zone's end, as calls do. */
			lost |= enter_at(code + at, GETPGID, FLAGS_SEEN, now) & ~(1u << ZONE);
			differs += now[RAX] != (uint64_t)-ESRCH || now[ZONE + 14] != 0x7ca5c00000 + ZONE + 14;
		}
		printf("call; ret: %d differ, lost %s\n", differs, state_names(lost));
	}
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"aligned", aligned}, {"odd", odd}, {"across a cache line", line}, {"across a page", page},
		{"before unmapped memory", edge}, {"entered at the instruction", in_the_middle},
		{"entered behind it", behind}, {"idioms", idioms},
	};

	return RUN_PARTS(parts, argc, argv);
}
