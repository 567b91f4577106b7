/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two versions of a library, the same byte for byte but for one: what the first executes, calls among it, the second
 * jumps over; there it is data, and the program shows it. And that program.
 */
#ifdef LIBRARY

#define AGAIN(x) x x x x x x x x

#if LIBRARY == 1
#define BEGIN "xor %eax, %eax\n"
#else
#define BEGIN "jmp 1f\n"
#endif

__asm__(".globl work\nwork:\nxor %eax, %eax\n" BEGIN "nop\n" AGAIN("mov $110, %eax\nsyscall\n") "1: ret\n");

#else

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	void *library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
	unsigned char *code = library ? dlsym(library, "work") : 0;
	int (*work)(void) = 0;

	if (!code) {
		puts(dlerror());
		return 1;
	}
	for (int i = 0; argc > 2 && i < 64; i++)
		printf("%02x", code[i]);
	__builtin_memcpy(&work, &code, sizeof work);
	puts(work() == (work() ? getppid() : 0) ? " right" : " WRONG");
	return 0;
}

#endif
