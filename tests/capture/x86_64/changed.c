/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes after its call sites have run often: rewritten in place with or without mprotect, in part or as a
 * whole, through a second mapping of the same memory, mapped anew at the same address, moved, copied, handed down to
 * a child. What runs is always the code that stands there now; and who reads shared code reads what was written.
 */
#include "enter.h"
#include "parts.h"

#include <sys/prctl.h>

enum { OFTEN = 250, ROUNDS = 12, SIZE = 8192, NOBODY = 0x7ca5ca };

/* Calls that fail in ways of their own. */
static const struct {
	int number, error;
} calls[] = {
	{SYS_getpgid, ESRCH}, {SYS_close, EBADF}, {SYS_fchdir, EBADF}, {SYS_getsid, ESRCH}, {100000, ENOSYS},
	{SYS_sched_getscheduler, ESRCH}, {SYS_fdatasync, EBADF},
};

enum { CALLS = sizeof calls / sizeof *calls };

static uint64_t run(const unsigned char *code)
{
	uint64_t given[STATE], now[STATE];

	state_fill(given, FLAGS_SEEN);
	given[RAX] = 100000;
	given[RDI] = NOBODY;
	memcpy(now, given, sizeof given);
	enter(now, code);
	if (state_lost(given, now, NULL, FLAGS_SEEN))
		printf("lost: %s\n", state_names(state_lost(given, now, NULL, FLAGS_SEEN)));
	return now[RAX];
}

static int often(const unsigned char *code, long expected)
{
	int bad = 0;

	for (int i = 0; i < OFTEN; i++)
		bad += run(code) != (uint64_t)expected;
	return bad;
}

/* `mov $nr, %eax; syscall` and back, whole or only its number. */
static void write_call(unsigned char *at, int which)
{
	*at = 0xb8;
	memcpy(at + 1, &calls[which].number, 4);
	memcpy(at + 5, "\x0f\x05", 2);
	code_end(at + 7);
}

/* The same length without any call: mov $nr, %eax; nop; nop. */
static void write_none(unsigned char *at, int value)
{
	*at = 0xb8;
	memcpy(at + 1, &value, 4);
	memcpy(at + 5, "\x90\x90", 2);
	code_end(at + 7);
}

static unsigned char *map(int prot)
{
	unsigned char *at = mmap(NULL, SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(99);
	return at;
}

/* In place: made writable, written, made executable again. At offsets where the site straddles a line and a page. */
static void protected_and_rewritten(void)
{
	static const int offsets[] = {0, 57, 58, 4090, 4091};

	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		unsigned char *code = map(PROT_READ | PROT_WRITE);
		int bad = 0;

		for (int round = 0; round < ROUNDS; round++) {
			MUST(mprotect(code, SIZE, PROT_READ | PROT_WRITE));
			if (round % 4 == 3)
				write_none(code + offsets[i], 1000 + round);
			else
				write_call(code + offsets[i], round % CALLS);
			MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
			bad += often(code + offsets[i], round % 4 == 3 ? 1000 + round : -calls[round % CALLS].error);
		}
		printf("at %d: bad %d\n", offsets[i], bad);
		munmap(code, SIZE);
	}
}

static void rewritten_while_executable(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE | PROT_EXEC);
	int bad = 0;

	for (int round = 0; round < ROUNDS * 2; round++) {
		if (round % 4 == 3)
			write_none(code, 1000 + round);
		else
			write_call(code, round % CALLS);
		bad += often(code, round % 4 == 3 ? 1000 + round : -calls[round % CALLS].error);
	}
	printf("bad %d\n", bad);
}

/* Only the number is written, as a program does that keeps the place of an operand in mind. */
static void only_the_number(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE | PROT_EXEC);
	int bad = 0;

	write_call(code, 0);
	for (int round = 0; round < ROUNDS; round++) {
		memcpy(code + 1, &calls[round % CALLS].number, 4);
		bad += often(code, -calls[round % CALLS].error);
	}
	printf("writable and executable: bad %d\n", bad);
	bad = 0;
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	for (int round = 0; round < ROUNDS; round++) {
		MUST(mprotect(code, SIZE, PROT_READ | PROT_WRITE));
		memcpy(code + 1, &calls[round % CALLS].number, 4);
		MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
		bad += often(code, -calls[round % CALLS].error);
	}
	printf("protected: bad %d\n", bad);
}

/* Two mappings of one memory: one is run, the other one is written and read. */
static void through_a_second_mapping(void)
{
	int fd = (int)MUST(memfd_create("code", 0)), bad = 0, seen = 0;
	unsigned char *code, *writable, copy[64], file[64];

	MUST(ftruncate(fd, SIZE));
	writable = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	code = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int round = 0; round < ROUNDS; round++) {
		if (round % 4 == 3)
			write_none(writable + 64, 1000 + round);
		else
			write_call(writable + 64, round % CALLS);
		memcpy(copy, writable + 64, sizeof copy);
		bad += often(code + 64, round % 4 == 3 ? 1000 + round : -calls[round % CALLS].error);
		seen += memcmp(copy, writable + 64, sizeof copy) != 0;
		seen += memcmp(copy, code + 64, sizeof copy) != 0;
		seen += pread(fd, file, sizeof file, 64) != sizeof file || memcmp(copy, file, sizeof copy) != 0;
	}
	printf("bad %d, changes seen %d\n", bad, seen);
	/* And a private view of the same file, in which nothing is seen of what happens there. */
	munmap(code, SIZE);
	write_call(writable + 64, 0);
	memcpy(copy, writable + 64, sizeof copy);
	code = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	bad = often(code + 64, -calls[0].error);
	seen = memcmp(copy, writable + 64, sizeof copy) != 0;
	seen += pread(fd, file, sizeof file, 64) != sizeof file || memcmp(copy, file, sizeof copy) != 0;
	printf("private: bad %d, changes seen in the file %d\n", bad, seen);
	close(fd);
}

/* Gone and there again with other code, at once or after something else stood there. */
static void mapped_anew(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE), *place = code;
	int bad = 0;

	for (int round = 0; round < ROUNDS * 2; round++) {
		int prot = round % 3 ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;

		if (round % 2)
			munmap(code, SIZE);
		code = mmap(place, SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (code != place)
			exit(99);
		if (round % 4 == 3)
			write_none(code + 33, 1000 + round);
		else
			write_call(code + 33, round % CALLS);
		if (round % 3)
			MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
		bad += often(code + 33, round % 4 == 3 ? 1000 + round : -calls[round % CALLS].error);
		if (round % 5 == 4) {
			MUST(madvise(code, SIZE, MADV_DONTNEED)); /* pages of zeros */
			MUST(mprotect(code, SIZE, PROT_READ | PROT_WRITE));
			write_call(code + 33, 1);
			MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
			bad += often(code + 33, -calls[1].error);
		}
	}
	printf("bad %d\n", bad);
}

/* Code with a worn site is moved by mremap. */
static void moved(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE), *other;
	int bad = 0;

	write_call(code + 100, 0);
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	bad += often(code + 100, -calls[0].error);
	other = mremap(code, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, map(PROT_NONE));
	if (other == MAP_FAILED)
		exit(99);
	bad += often(other + 100, -calls[0].error);
	printf("moved: bad %d\n", bad);
	/* Where the first one stood something else stands now. */
	code = mmap(code, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	write_call(code + 100, 2);
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	printf("in its place: bad %d\n", often(code + 100, -calls[2].error));
}

/* Code with a worn site is copied byte by byte to elsewhere: both work. */
static void copied(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE), *copy;
	int bad = 0;

	write_call(code + 100, 0);
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	bad += often(code + 100, -calls[0].error);
	copy = map(PROT_READ | PROT_WRITE);
	memcpy(copy, code, SIZE);
	MUST(mprotect(copy, SIZE, PROT_READ | PROT_EXEC));
	bad = often(copy + 100, -calls[0].error);
	munmap(code, SIZE);
	bad += often(copy + 100, -calls[0].error);
	printf("copied: bad %d\n", bad);
}

/* A child inherits worn sites, and changes its own copy. */
static void handed_down(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE);
	pid_t child;

	write_call(code, 0);
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	printf("before: bad %d\n", often(code, -calls[0].error));
	child = (pid_t)MUST(fork());
	if (!child) {
		int bad = often(code, -calls[0].error);

		MUST(mprotect(code, SIZE, PROT_READ | PROT_WRITE));
		write_call(code, 1);
		MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
		bad += often(code, -calls[1].error);
		printf("child: bad %d\n", bad);
		_exit(bad != 0);
	}
	reap("child", child);
	printf("after: bad %d\n", often(code, -calls[0].error));
}

/* Execute-only and no longer executable: the first works, the second faults at the same place as ever. */
static void without_rights(void)
{
	unsigned char *code = map(PROT_READ | PROT_WRITE);
	pid_t child;

	write_call(code, 0);
	MUST(mprotect(code, SIZE, PROT_EXEC));
	printf("execute only: bad %d\n", often(code, -calls[0].error));
	MUST(mprotect(code, SIZE, PROT_READ));
	child = (pid_t)MUST(fork());
	if (!child) {
		prctl(PR_SET_DUMPABLE, 0);
		run(code);
		_exit(0);
	}
	reap("not executable", child);
	MUST(mprotect(code, SIZE, PROT_READ | PROT_EXEC));
	printf("again: bad %d\n", often(code, -calls[0].error));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"protected and rewritten", protected_and_rewritten},
		{"rewritten while executable", rewritten_while_executable}, {"only the number", only_the_number},
		{"through a second mapping", through_a_second_mapping}, {"mapped anew", mapped_anew},
		{"moved", moved}, {"copied", copied}, {"handed down", handed_down},
		{"without rights", without_rights},
	};

	return RUN_PARTS(parts, argc, argv);
}
