/* SPDX-License-Identifier: Apache-2.0 */
/* Calls with 100 MB in one go, to and from a file, a pipe and a socket, and in many pieces; memory is given back. */
#include "check.h"

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { SIZE = 100 << 20 };

/* Resident memory of this process in MB. */
static long resident(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*d %ld", &pages) != 1)
		pages = -1;
	if (file)
		fclose(file);
	return pages * 4096 >> 20;
}

static void through(const char *name, int in, int out, unsigned char *data, unsigned char *back)
{
	long total = 0, got;
	pid_t child = fork();

	if (!child) {
		close(in);
		for (total = 0; total < SIZE; total += got)
			if ((got = write(out, data + total, SIZE - total)) <= 0)
				_exit(1);
		_exit(0);
	}
	close(out);
	while ((got = read(in, back + total, SIZE - total)) > 0)
		total += got;
	reap(name, child);
	check("intact", total == SIZE && !memcmp(data, back, SIZE));
	close(in);
}

int main(void)
{
	unsigned char *data, *back;
	struct iovec *pieces = malloc(IOV_MAX * sizeof *pieces);
	int fd, p[2];
	long before;

	begin();
	data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	back = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(data, SIZE, 3);
	fd = MUST(open("large", O_CREAT | O_RDWR, 0600));
	memset(back, 1, SIZE);
	before = resident();
	report("write 100 MB", write(fd, data, SIZE));
	report("pread 100 MB", pread(fd, back, SIZE, 0));
	check("intact", !memcmp(data, back, SIZE));
	report("close", close(fd));
	check("memory is given back", resident() - before < 16);

	fd = MUST(open("large", O_RDWR | O_TRUNC));
	for (int i = 0; i < IOV_MAX; i++)
		pieces[i] = (struct iovec){data + (long)i * (SIZE / IOV_MAX), SIZE / IOV_MAX};
	report("writev 100 MB in 1024 pieces", writev(fd, pieces, IOV_MAX));
	for (int i = 0; i < IOV_MAX; i++)
		pieces[i].iov_base = back + (long)i * (SIZE / IOV_MAX);
	memset(back, 0, SIZE);
	report("preadv", preadv(fd, pieces, IOV_MAX, 0));
	check("intact", !memcmp(data, back, SIZE));
	close(fd);
	MUST(unlink("large"));

	memset(back, 0, SIZE);
	MUST(pipe(p));
	through("pipe", p[0], p[1], data, back);
	memset(back, 0, SIZE);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	through("socket", p[0], p[1], data, back);
	return 0;
}
