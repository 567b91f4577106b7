/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file will be at exec, looked at beforehand: a program that gains privileges, which the kernel would not grant
 * under an ordinary tracer, or one that the agent cannot live in. Used by the agent and, for a run's first program, by
 * the launcher. Who includes this has the numbers NR_* and defines inspect_call(), which gives negative errno. Whatever
 * makes the exec fail anyway counts as plain, so that the kernel has the word.
 */
#ifndef LSCA_INSPECT_H
#define LSCA_INSPECT_H

#include <stdint.h>

#include "abi.h"
#include "machine.h"

enum { INSPECT_HEAD = 256, INSPECT_DEPTH = 6, INSPECT_HERE = -100 };

static int64_t inspect_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

static void inspect_name(char *to, uint32_t fd)
{
	const char *from = "/proc/self/fd/";
	uint32_t unit = 1;

	while (*from)
		*to++ = *from++;
	while (fd / unit > 9)
		unit *= 10;
	for (; unit; unit /= 10)
		*to++ = (char)('0' + fd / unit % 10);
	*to = 0;
}

/* The word after #! in place, or 0. */
static const char *inspect_interpreter(uint8_t *head, int32_t n)
{
	char *from = (char *)head + 2, *end = (char *)head + n, *to;

	while (from < end && (*from == ' ' || *from == '\t'))
		from++;
	for (to = from; to < end && *to && *to != ' ' && *to != '\t' && *to != '\n'; to++)
		;
	*to = 0;
	return to > from ? from : 0;
}

static int inspect_is_elf(const uint8_t *head, int32_t n)
{
	return n >= 52 && head[0] == 0x7f && head[1] == 'E' && head[2] == 'L' && head[3] == 'F';
}

static int inspect_is_foreign(const uint8_t *head)
{
	return head[4] == 1 && arch_runs_foreign((uint16_t)(head[18] | head[19] << 8));
}

/* `about` is a struct statx. Decided as the kernel does: by owner, capabilities, mount, and no_new_privs. */
static int inspect_gains(uint64_t fd, const uint32_t *about)
{
	uint32_t mode = about[7] & 07777, uid = about[5], gid = about[6];
	uint32_t euid = (uint32_t)inspect_call(NR_geteuid, 0, 0, 0, 0, 0);
	uint64_t mount[16] = {0};
	char name[32];
	int gains = 0;

	if (mode & 04000)
		gains = uid != euid || uid != (uint32_t)inspect_call(NR_getuid, 0, 0, 0, 0, 0);
	if ((mode & 02010) == 02010)
		gains |= gid != (uint32_t)inspect_call(NR_getegid, 0, 0, 0, 0, 0) ||
			 gid != (uint32_t)inspect_call(NR_getgid, 0, 0, 0, 0, 0);
	inspect_name(name, (uint32_t)fd);
	if (!gains && euid)
		gains = inspect_call(NR_getxattr, (uint64_t)name, (uint64_t)"security.capability", 0, 0, 0) > 0;
	if (!gains || inspect_call(NR_prctl, 39, 0, 0, 0, 0) == 1) /* PR_GET_NO_NEW_PRIVS */
		return 0;
	return inspect_call(NR_fstatfs, fd, (uint64_t)mount, 0, 0, 0) < 0 || !(mount[10] & 2); /* ST_NOSUID */
}

/*
 * One file: its kind, or its interpreter, if it is a script. Only a plain file is opened: that does nothing to it.
 * `is_fd`: the path is empty and `dir` is the file.
 */
static uint32_t inspect_file(int64_t dir, const char *path, int is_fd, uint8_t *head, const char **interpreter)
{
	uint64_t empty = is_fd ? 0x1000 : 0; /* AT_EMPTY_PATH */
	uint32_t about[64] = {0}, kind = IMAGE_PLAIN;
	char name[32];
	int64_t fd, n = -1;

	*interpreter = 0;
	if (inspect_call(NR_statx, (uint64_t)dir, (uint64_t)path, empty, 0x7ff, (uint64_t)about) < 0)
		return IMAGE_PLAIN;
	if ((about[7] & 0170000) != 0100000)
		return IMAGE_PLAIN;
	if (inspect_call(NR_faccessat2, (uint64_t)dir, (uint64_t)path, 1, 0x200 | empty, 0) < 0) /* X_OK, AT_EACCESS */
		return IMAGE_PLAIN;
	if (is_fd) {
		inspect_name(name, (uint32_t)dir);
		path = name;
		dir = INSPECT_HERE;
	}
	fd = inspect_call(NR_openat, (uint64_t)dir, (uint64_t)path, 02004000, 0, 0); /* CLOEXEC, NONBLOCK */
	if (fd >= 0)
		n = inspect_call(NR_read, (uint64_t)fd, (uint64_t)head, INSPECT_HEAD - 1, 0, 0);
	else /* it may be executed but not read */
		fd = inspect_call(NR_openat, (uint64_t)dir, (uint64_t)path, 012000000, 0, 0); /* O_PATH, O_CLOEXEC */
	if (fd < 0)
		return IMAGE_PLAIN;
	if (n > 2 && head[0] == '#' && head[1] == '!') {
		*interpreter = inspect_interpreter(head, (int32_t)n);
	} else if (n < 0 || inspect_is_elf(head, (int32_t)n)) {
		if (n >= 0 && inspect_is_foreign(head))
			kind = IMAGE_FOREIGN;
		else if (inspect_gains((uint64_t)fd, about))
			kind = IMAGE_GAINS;
	}
	inspect_call(NR_close, (uint64_t)fd, 0, 0, 0, 0);
	return kind;
}

/* As execveat takes them. `is_fd`: the path is empty and `dir` is the file. A script is what its interpreter is. */
static uint32_t inspect_image(int64_t dir, const char *path, int is_fd)
{
	uint8_t head[INSPECT_HEAD];
	uint32_t kind = IMAGE_PLAIN;

	for (int depth = 0; path && depth < INSPECT_DEPTH; depth++) {
		kind = inspect_file(dir, path, is_fd, head, &path);
		dir = INSPECT_HERE;
		is_fd = 0;
	}
	return kind;
}

#endif
