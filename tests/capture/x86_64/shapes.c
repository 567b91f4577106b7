/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call sites, each run ten times, and the bytes of each before and after. Natively they are the same. The memory around
 * each site is laid out here, so that it is certain which shapes fit: where a jump that the site's own bytes spell
 * would lead to is empty, or is occupied. test_patching.py knows what each site has to become. The calls of a site
 * carry its number in the list, by which the log knows them.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/personality.h>

enum { TIMES = 10, MARK = 0x7ca000, SITE_AT = 128, ROOM_PAGES = 0x60000 /* the longest jump is 1.2 GB */ };

enum memory { CODE, WRITABLE, SHARED, FIRST /* of all that is there */ };

struct shape {
	const char *name, *code;
	int length, call; /* where in it the `syscall` stands */
	long nr;	  /* in rax at its beginning */
	int occupied;	  /* what a jump from the `syscall` leads to; 2: from two bytes before it, too */
	enum memory memory;
};

#define BYTES(text) text, sizeof text - 1
#define GETPGID "\xb8\x79\0\0\0"	/* mov $121, %eax */
#define CALL "\x0f\x05"			/* syscall */
#define ERROR "\x48\x3d\x01\xf0\xff\xff" /* cmp $-4095, %rax */
#define RET "\xc3\x0f\x1f\x80\0\0\0\0"	/* ret, and what compilers put behind it */
#define XOR "\x31\xc0"			/* xor %eax, %eax */

static const struct shape shapes[] = {
	{"mov; syscall; ret", BYTES(GETPGID CALL RET), 5, 0, 1, CODE},
	{"mov; syscall; cmp", BYTES(GETPGID CALL ERROR RET), 5, 0, 0, CODE},
	{"first of a page: mov; syscall; ret", BYTES(GETPGID CALL RET), 5, 0, 1, FIRST},
	{"syscall; cmp", BYTES(CALL ERROR RET), 0, SYS_getpgid, 0, CODE},
	{"syscall; ret", BYTES(CALL RET), 0, SYS_getpgid, 0, CODE},
	{"xor; syscall; cmp", BYTES(XOR CALL ERROR RET), 2, 0, 0, CODE},
	{"xor; syscall; cmp, occupied", BYTES(XOR CALL ERROR RET), 2, 0, 1, CODE},
	{"xor; syscall; cmp, both occupied", BYTES(XOR CALL ERROR RET), 2, 0, 2, CODE},
	{"syscall; cmp, occupied", BYTES(CALL ERROR RET), 0, SYS_getpgid, 1, CODE},
	{"syscall; ret, occupied", BYTES(CALL RET), 0, SYS_getpgid, 1, CODE},
	{"longer mov; syscall; ret, occupied", BYTES("\x49" GETPGID "\0\0\0\0" CALL RET), 10, SYS_getpgid, 1, CODE},
	/* testl $121, -72(%rsp) and cmpl $121, -72(%rbx): the same five bytes, and no mov */
	{"test; syscall; ret, occupied", BYTES("\xf7\x44\x24" GETPGID CALL RET), 8, SYS_getpgid, 1, CODE},
	{"compare; syscall; ret, occupied", BYTES("\x81\x7b" GETPGID CALL RET), 7, SYS_getpgid, 1, CODE},
	{"mov; syscall; ret, writable", BYTES(GETPGID CALL RET), 5, 0, 0, WRITABLE},
	{"syscall; cmp, writable", BYTES(CALL ERROR RET), 0, SYS_getpgid, 0, WRITABLE},
	{"mov; syscall; ret, shared", BYTES(GETPGID CALL RET), 5, 0, 0, SHARED},
	{"syscall; cmp, shared", BYTES(CALL ERROR RET), 0, SYS_getpgid, 0, SHARED},
};

/* These need a signal frame; the argument is one that each of them refuses, or that changes nothing. */
static const struct {
	const char *name;
	int nr;
	long argument;
} framed[] = {
	{"sigaltstack", SYS_sigaltstack, 0},  {"prctl", SYS_prctl, -1},	  {"arch_prctl", SYS_arch_prctl, 0x7fff},
	{"clone", SYS_clone, 0x10000},	      {"clone3", SYS_clone3, 0},  {"execve", SYS_execve, 0},
	{"rt_sigsuspend", SYS_rt_sigsuspend, 0},
};

static volatile sig_atomic_t handled;
static int number;

/* The code, with that in rax, and those as arguments. */
static __attribute__((naked, noinline)) long run(const void *code, long nr, long a, long b, long c, long d)
{
	(void)code, (void)nr, (void)a, (void)b, (void)c, (void)d;
	__asm__("push %rbx\n"
		"mov %rdi, %rbx\n mov %rsi, %rax\n mov %rdx, %rdi\n mov %rcx, %rsi\n mov %r8, %rdx\n mov %r9, %r10\n"
		"call *%rbx\n"
		"pop %rbx\n"
		"ret\n");
}

static void *map(void *at, size_t size, int prot, int flags)
{
	void *got = mmap(at, size, prot, MAP_ANONYMOUS | flags, -1, 0);

	if (got == MAP_FAILED || (at && got != at)) {
		printf("no memory at the place wanted\n");
		exit(99);
	}
	return got;
}

/* Both pages that a jump there could need. */
static void occupy(const unsigned char *from)
{
	int distance;
	uintptr_t to;

	memcpy(&distance, from + 1, 4);
	to = (uintptr_t)from + 5 + (uintptr_t)(long)distance;
	map((void *)(to & ~4095ul), 8192, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
}

/* A page of code with nothing but free memory, or what `occupied` says, within reach of the jumps. */
static unsigned char *lay(const struct shape *shape)
{
	size_t room = ROOM_PAGES * 4096ul;
	unsigned char *area = map(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE), *code, *call;

	MUST(munmap(area, room));
	area += 4096;
	code = area + (shape->memory == FIRST ? 0 : SITE_AT);
	map(area, 4096, PROT_READ | PROT_WRITE,
	    MAP_FIXED_NOREPLACE | (shape->memory == SHARED ? MAP_SHARED : MAP_PRIVATE));
	memset(area, 0xcc, 4096);
	memcpy(code, shape->code, (size_t)shape->length);
	call = code + shape->call;
	if (shape->occupied)
		occupy(call);
	if (shape->occupied > 1)
		occupy(call - 2);
	MUST(mprotect(area, 4096, PROT_READ | PROT_EXEC | (shape->memory == WRITABLE ? PROT_WRITE : 0)));
	return code;
}

static void show(const char *name, const unsigned char *before, const unsigned char *after, int length, int changed,
		 long ret)
{
	printf("%d %s: ", number++, name);
	for (int i = 0; i < length; i++)
		printf("%02x", before[i]);
	printf(" ");
	for (int i = 0; i < length; i++)
		printf("%02x", after[i]);
	printf(" %d around it changed, %ld\n", changed, ret);
}

/* The site's calls and nothing between them. */
static void try(const struct shape *shape, long argument)
{
	unsigned char before[4096], *code = lay(shape);
	long ret = 0, first = 0;
	int changed = 0, differ = 0, at = (int)((uintptr_t)code & 4095);

	memcpy(before, code - at, 4096);
	for (int i = 0; i < TIMES; i++) {
		ret = run(code, shape->nr, argument, 0, 0, 0);
		first = i ? first : ret;
		differ += ret != first;
	}
	for (int i = 0; i < 4096; i++)
		if (i < at || i >= at + shape->length)
			changed += before[i] != code[i - at];
	show(shape->name, before + at, code, shape->length, changed, differ ? 1000 + differ : ret);
}

static void on_signal(int signal)
{
	(void)signal;
	handled++;
}

/* A restorer of our own: the call that ends a handler. */
static void returning(void)
{
	static const struct shape restorer = {"rt_sigreturn", BYTES("\xb8\x0f\0\0\0" CALL RET), 5, 0, 0, CODE};
	unsigned char before[16], *code = lay(&restorer);
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} action = {on_signal, 0x04000000, code, 0}; /* SA_RESTORER */

	memcpy(before, code, (size_t)restorer.length);
	MUST(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8));
	for (int i = 0; i < TIMES; i++)
		raise(SIGUSR1);
	show(restorer.name, before, code, restorer.length, 0, handled);
}

static void *waiting(void *fd)
{
	char byte;

	read(*(int *)fd, &byte, 1);
	return NULL;
}

/* With other threads about, the shape that changes one byte is taken first. */
static void threaded(void)
{
	static const struct shape beside[] = {
		{"beside a thread: mov; syscall; cmp", BYTES(GETPGID CALL ERROR RET), 5, 0, 0, CODE},
		{"beside a thread: mov; syscall; ret, occupied", BYTES(GETPGID CALL RET), 5, 0, 1, CODE},
		{"beside a thread: syscall; ret, occupied", BYTES(CALL RET), 0, SYS_getpgid, 1, CODE},
	};
	pthread_t thread;
	int p[2];

	MUST(pipe(p));
	if (pthread_create(&thread, NULL, waiting, p))
		exit(99);
	for (unsigned i = 0; i < sizeof beside / sizeof *beside; i++)
		try(&beside[i], MARK + number);
	MUST(write(p[1], "x", 1));
	pthread_join(thread, NULL);
}

/* The heap of a program that has a fixed place may begin anywhere below 1 GB, and so lie where the table would. */
static void without_chance(char **argv)
{
	int now = (int)MUST(personality(0xffffffff));

	if (now & ADDR_NO_RANDOMIZE)
		return;
	MUST(personality((unsigned long)now | ADDR_NO_RANDOMIZE));
	MUST(execv("/proc/self/exe", argv));
}

int main(int argc, char **argv)
{
	(void)argc;
	begin();
	without_chance(argv);
	for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
		try(&shapes[i], MARK + number);
	for (unsigned i = 0; i < sizeof framed / sizeof *framed; i++) {
		char code[] = "\xb8....\x0f\x05" RET;
		struct shape shape = {framed[i].name, BYTES(code), 5, 0, 0, CODE};

		memcpy(code + 1, &framed[i].nr, 4);
		try(&shape, framed[i].argument);
	}
	returning();
	threaded();
	return 0;
}
