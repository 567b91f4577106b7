/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is a file: private and shared mappings, msync, two processes on one page, memfd, what the end does. */
#include "check.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf escape;

static void on_bus(int signal)
{
	siglongjmp(escape, signal);
}

static void *map(int prot, int flags, int fd, off_t offset)
{
	return mmap(NULL, 8192, prot, flags, fd, offset);
}

int main(void)
{
	char *shared, *private, buffer[16];
	volatile int *word;
	int fd, sealed;
	pid_t child;

	begin();
	fd = MUST(open("file", O_CREAT | O_RDWR, 0600));
	MUST(ftruncate(fd, 8192));
	MUST(pwrite(fd, "on disk", 7, 0));
	shared = map(PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	check("mapped", shared != MAP_FAILED && private != MAP_FAILED);
	check("content", !memcmp(shared, "on disk", 7) && !memcmp(private, "on disk", 7));
	memcpy(shared, "in core", 7);
	report("read what was stored", pread(fd, buffer, 7, 0));
	check("it is the new one", !memcmp(buffer, "in core", 7));
	memcpy(private, "private", 7);
	pread(fd, buffer, 7, 0);
	check("private store stays private", !memcmp(buffer, "in core", 7));
	MUST(pwrite(fd, "written", 7, 4096));
	check("write is seen in the mapping", !memcmp(shared + 4096, "written", 7));
	report("msync", msync(shared, 8192, MS_SYNC));
	report("msync unaligned", msync(shared + 1, 10, MS_SYNC));
	report("close leaves the mapping", close(fd));
	check("still there", !memcmp(shared, "in core", 7));

	child = fork();
	if (!child) {
		memcpy(shared + 100, "child", 5);
		memcpy(private + 100, "child", 5);
		_exit(0);
	}
	reap("child", child);
	check("child's store is seen", !memcmp(shared + 100, "child", 5));
	check("not in the private one", memcmp(private + 100, "child", 5));

	/* Two processes that opened the file each for itself take turns on one word. */
	word = (volatile int *)(shared + 4096);
	*word = 0;
	child = fork();
	if (!child) {
		volatile int *own;

		munmap(shared, 8192);
		fd = MUST(open("file", O_RDWR));
		own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
		for (int i = 0; i < 100; i++) {
			while (*own != 2 * i + 1)
				sched_yield();
			*own = 2 * i + 2;
		}
		_exit(0);
	}
	for (int i = 0; i < 100; i++) {
		*word = 2 * i + 1;
		while (*word != 2 * i + 2)
			sched_yield();
	}
	reap("turns", child);
	report("word", *word);

	fd = MUST(open("file", O_RDONLY));
	check("shared writable of a read-only file", map(PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
			errno == EACCES);
	check("private writable of it", map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	check("odd offset", map(PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED && errno == EINVAL);
	close(fd);
	check("EBADF", map(PROT_READ, MAP_PRIVATE, 77, 0) == MAP_FAILED && errno == EBADF);
	fd = MUST(open(".", O_RDONLY));
	check("a directory", map(PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == ENODEV);
	close(fd);

	signal(SIGBUS, on_bus);
	fd = MUST(open("file", O_RDWR));
	MUST(ftruncate(fd, 100));
	if (!sigsetjmp(escape, 1)) {
		buffer[0] = shared[4096];
		printf("read beyond the end: fine\n");
	} else {
		printf("read beyond the end: SIGBUS\n");
	}
	check("tail of the last page is zero", shared[200] == 0);
	close(fd);

	fd = attempt("memfd", memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	sealed = fd;
	MUST(ftruncate(sealed, 4096));
	report("seal", fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE));
	report("seals", fcntl(sealed, F_GET_SEALS));
	report("shrink", ftruncate(sealed, 0));
	report("write", write(sealed, "x", 1));
	check("anonymous shared", (word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0)) !=
					  MAP_FAILED);
	child = fork();
	if (!child) {
		*word = 5;
		_exit(0);
	}
	reap("child", child);
	report("word", *word);
	fd = MUST(open("/dev/zero", O_RDWR));
	private = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	check("/dev/zero", private != MAP_FAILED && !private[4096]);
	return 0;
}
