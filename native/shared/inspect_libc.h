/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h for those who have a libc: the launcher, and programs that join a session. */
#ifndef LSCA_INSPECT_LIBC_H
#define LSCA_INSPECT_LIBC_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	NR_openat = SYS_openat,
	NR_read = SYS_read,
	NR_close = SYS_close,
	NR_statx = SYS_statx,
	NR_faccessat2 = SYS_faccessat2,
	NR_getxattr = SYS_getxattr,
	NR_fstatfs = SYS_fstatfs,
	NR_prctl = SYS_prctl,
	NR_getuid = SYS_getuid,
	NR_geteuid = SYS_geteuid,
	NR_getgid = SYS_getgid,
	NR_getegid = SYS_getegid,
};

#include "inspect.h"

static int64_t inspect_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	int64_t r = syscall((long)nr, a, b, c, d, e);

	return r < 0 ? -errno : r;
}

#endif
