/* SPDX-License-Identifier: Apache-2.0 */
/* Reading directories: getdents64 with small and exact buffers, seeking back, many entries, entries that vanish. */
#include "check.h"

#include <dirent.h>
#include <ftw.h>

struct entry {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int entries(int fd, size_t size, int *calls)
{
	char *buffer = tail_alloc(size);
	int count = 0;
	long got;

	*calls = 0;
	while ((got = syscall(SYS_getdents64, fd, buffer, size)) > 0) {
		++*calls;
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->len)
			count++;
	}
	if (got < 0)
		printf("getdents64: %s\n", error_name(errno));
	return count;
}

static int visited;

static int visit(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)path, (void)st, (void)walk;
	visited += type == FTW_F ? 1 : 1000;
	return 0;
}

int main(void)
{
	int fd, calls, compare_calls;
	char name[64], *buffer;
	struct dirent **list;
	DIR *dir;

	begin();
	MUST(mkdir("many", 0755));
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "many/entry-with-a-rather-long-name-%04d", i);
		make_file(name, "");
	}
	fd = MUST(open("many", O_RDONLY | O_DIRECTORY));
	printf("entries: %d\n", entries(fd, 32768, &calls));
	report("at the end", syscall(SYS_getdents64, fd, tail_alloc(1024), 1024));
	report("rewind", lseek(fd, 0, SEEK_SET));
	printf("again with a small buffer: %d\n", entries(fd, 256, &compare_calls));
	check("more calls", compare_calls > calls);
	lseek(fd, 0, SEEK_SET);
	report("buffer too small", syscall(SYS_getdents64, fd, tail_alloc(8), 8));
	report("buffer unmapped", syscall(SYS_getdents64, fd, nowhere(), 4096));
	close(fd);
	fd = MUST(open("many/entry-with-a-rather-long-name-0000", O_RDONLY));
	report("getdents64 of a file", syscall(SYS_getdents64, fd, tail_alloc(1024), 1024));
	close(fd);
	report("getdents64 EBADF", syscall(SYS_getdents64, 77, tail_alloc(1024), 1024));

	printf("scandir: %d\n", scandir("many", &list, NULL, alphasort));
	printf("third: %s\n", list[2]->d_name);
	printf("type of the third: %d\n", list[2]->d_type);

	dir = opendir("many");
	fd = dirfd(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			MUST(unlinkat(fd, entry->d_name, 0));
	closedir(dir);
	report("rmdir of the emptied directory", rmdir("many"));

	MUST(mkdir("tree", 0755));
	MUST(mkdir("tree/left", 0755));
	MUST(mkdir("tree/left/deep", 0755));
	MUST(mkdir("tree/right", 0755));
	make_file("tree/left/deep/file", "1");
	make_file("tree/right/file", "2");
	report("walk", nftw("tree", visit, 8, FTW_PHYS));
	printf("visited: %d\n", visited);

	fd = MUST(open("tree/right", O_RDONLY | O_DIRECTORY));
	MUST(unlink("tree/right/file"));
	MUST(rmdir("tree/right"));
	buffer = tail_alloc(1024);
	report("getdents64 of a removed directory", syscall(SYS_getdents64, fd, buffer, 1024));
	close(fd);
	return 0;
}
