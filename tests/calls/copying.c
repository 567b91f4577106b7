/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies made by the kernel: sendfile, splice, tee, vmsplice, copy_file_range;
 * offsets moved, offsets given, refusals.
 */
#include "check.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

int main(void)
{
	enum { SIZE = 300000 };
	unsigned char *data = malloc(SIZE), *back = malloc(SIZE);
	struct iovec piece = {"from memory", 11};
	int source, target, p[2], q[2], pair[2];
	off_t at = 100;
	loff_t from = 5, to = 7;
	long got, total;
	pid_t child;

	begin();
	fill(data, SIZE, 1);
	source = MUST(open("source", O_CREAT | O_RDWR, 0600));
	target = MUST(open("target", O_CREAT | O_RDWR, 0600));
	MUST(write(source, data, SIZE));
	lseek(source, 0, SEEK_SET);

	report("sendfile", sendfile(target, source, NULL, SIZE));
	report("source moved", lseek(source, 0, SEEK_CUR));
	check("same", pread(target, back, SIZE, 0) == SIZE && !memcmp(data, back, SIZE));
	report("sendfile from an offset", sendfile(target, source, tail_copy(&at, sizeof at), 50));
	sendfile(target, source, &at, 50);
	printf("offset: %ld, source at %ld\n", (long)at, (long)lseek(source, 0, SEEK_CUR));
	report("sendfile at the end", sendfile(target, source, NULL, 10));
	report("sendfile EBADF", sendfile(77, source, NULL, 10));
	report("sendfile offset unmapped", sendfile(target, source, nowhere(), 10));
	at = -1;
	report("sendfile negative offset", sendfile(target, source, &at, 10));

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	child = fork();
	if (!child) {
		close(pair[1]);
		lseek(source, 0, SEEK_SET);
		for (total = 0; total < SIZE; total += got)
			if ((got = sendfile(pair[0], source, NULL, SIZE - total)) <= 0)
				_exit(1);
		_exit(0);
	}
	close(pair[0]);
	for (total = 0; (got = read(pair[1], back + total, SIZE - total)) > 0; total += got)
		;
	reap("sendfile into a socket", child);
	check("all of it", total == SIZE && !memcmp(data, back, SIZE));
	close(pair[1]);

	MUST(pipe(p));
	MUST(pipe(q));
	report("splice file to pipe", splice(source, tail_copy(&from, sizeof from), p[1], NULL, 1000, 0));
	report("tee", tee(p[0], q[1], 400, 0));
	report("splice pipe to file", splice(p[0], NULL, target, &to, 1000, 0));
	printf("offset: %lld\n", (long long)to);
	check("spliced", pread(target, back, 1000, 7) == 1000 && !memcmp(data + 5, back, 1000));
	report("read the copy", read(q[0], back, SIZE));
	check("copied", !memcmp(data + 5, back, 400));
	report("vmsplice", vmsplice(p[1], tail_copy(&piece, sizeof piece), 1, 0));
	report("read it", read(p[0], back, SIZE));
	report("splice two files", splice(source, NULL, target, NULL, 10, 0));
	report("splice offset of a pipe", splice(p[0], &from, target, NULL, 10, 0));
	report("splice empty, non-blocking", splice(p[0], NULL, target, NULL, 10, SPLICE_F_NONBLOCK));
	report("tee empty, non-blocking", tee(p[0], q[1], 10, SPLICE_F_NONBLOCK));
	report("splice bad flags", splice(p[0], NULL, target, NULL, 10, 0x1000));
	close(p[1]);
	report("splice at the end", splice(p[0], NULL, target, NULL, 10, 0));

	MUST(ftruncate(target, 0));
	lseek(source, 0, SEEK_SET);
	lseek(target, 0, SEEK_SET);
	report("copy_file_range", copy_file_range(source, NULL, target, NULL, 1000, 0));
	from = 10, to = 5000;
	report("copy_file_range at offsets", copy_file_range(source, &from, target, &to, 1000, 0));
	printf("offsets: %lld %lld\n", (long long)from, (long long)to);
	check("copied", pread(target, back, 1000, 5000) == 1000 && !memcmp(data + 10, back, 1000));
	report("length", lseek(target, 0, SEEK_END));
	report("copy_file_range bad flags", copy_file_range(source, NULL, target, NULL, 10, 1));
	report("copy_file_range overlap", (from = 0, to = 5, copy_file_range(source, &from, source, &to, 100, 0)));
	report("copy_file_range of a pipe", copy_file_range(q[0], NULL, target, NULL, 10, 0));
	return 0;
}
