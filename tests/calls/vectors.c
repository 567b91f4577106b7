/* SPDX-License-Identifier: Apache-2.0 */
/* readv, writev and their relatives: gathering, scattering, too many pieces, odd lengths, flags, offsets. */
#include "check.h"

#include <limits.h>
#include <sys/uio.h>

int main(void)
{
	char one[3], two[5], *edge = tail_alloc(4);
	struct iovec out[3] = {{"abc", 3}, {NULL, 0}, {"defgh", 5}}, in[3] = {{one, 3}, {two, 2}, {edge, 4}};
	struct iovec *many = tail_alloc((IOV_MAX + 1) * sizeof *many), bad[2];
	int fd, p[2];

	begin();
	fd = MUST(open("file", O_CREAT | O_RDWR, 0600));
	report("writev", writev(fd, tail_copy(out, sizeof out), 3));
	report("position", lseek(fd, 0, SEEK_CUR));
	lseek(fd, 0, SEEK_SET);
	report("readv", readv(fd, tail_copy(in, sizeof in), 3));
	check("scattered", !memcmp(one, "abc", 3) && !memcmp(two, "de", 2) && !memcmp(edge, "fgh", 3));
	report("readv at the end", readv(fd, in, 3));
	report("preadv", preadv(fd, in, 2, 4));
	check("from the offset", !memcmp(one, "efg", 3));
	report("pwritev", pwritev(fd, out, 3, 100));
	report("length", lseek(fd, 0, SEEK_END));
	report("preadv negative offset", preadv(fd, in, 2, -5));
	report("preadv2 at the position", (lseek(fd, 2, SEEK_SET), preadv2(fd, in, 1, -1, 0)));
	report("it moved", lseek(fd, 0, SEEK_CUR));
	report("pwritev2 RWF_APPEND", pwritev2(fd, out, 1, 0, RWF_APPEND));
	report("length", lseek(fd, 0, SEEK_END));
	report("pwritev2 RWF_DSYNC", pwritev2(fd, out, 1, 0, RWF_DSYNC));
	report("preadv2 unknown flag", preadv2(fd, in, 1, 0, 0x40000000));

	report("no pieces", writev(fd, out, 0));
	report("no pieces, list unmapped", readv(fd, nowhere(), 0));
	report("negative count", writev(fd, out, -1));
	for (int i = 0; i <= IOV_MAX; i++)
		many[i] = (struct iovec){"x", 1};
	report("IOV_MAX + 1", writev(fd, many, IOV_MAX + 1));
	report("IOV_MAX", writev(fd, many + 1, IOV_MAX));
	report("EBADF with good pieces", writev(77, out, 3));
	report("EBADF with bad pieces", readv(77, nowhere(), 3));
	bad[0] = (struct iovec){one, 3};
	bad[1] = (struct iovec){two, (size_t)-1};
	report("negative length", readv(fd, bad, 2));
	bad[1] = (struct iovec){two, SSIZE_MAX};
	lseek(fd, 0, SEEK_SET);
	attempt("length beyond everything", readv(fd, bad, 1));
	bad[1] = (struct iovec){nowhere(), 5};
	lseek(fd, 0, SEEK_SET);
	report("second piece unmapped", readv(fd, bad, 2));
	check("first piece came", !memcmp(one, "abc", 3));
	bad[0] = (struct iovec){nowhere(), 0};
	bad[1] = (struct iovec){one, 2};
	report("empty piece unmapped", pwritev(fd, bad, 2, 0));
	close(fd);

	MUST(pipe2(p, O_NONBLOCK));
	report("pipe writev", writev(p[1], out, 3));
	report("pipe readv less than there", readv(p[0], in, 1));
	report("pipe readv the rest", readv(p[0], in, 3));
	report("pipe readv empty", readv(p[0], in, 3));
	report("preadv of a pipe", preadv(p[0], in, 1, 0));
	close(p[1]);
	report("pipe readv end", readv(p[0], in, 3));
	return 0;
}
