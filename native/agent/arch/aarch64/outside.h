/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: numbers of the calls with which the agent looks about outside of its program: sockets, files. */
#ifndef LSCA_OUTSIDE_H
#define LSCA_OUTSIDE_H

enum {
	NR_getcwd = 17,
	NR_readlinkat = 78,
	NR_socket = 198,
	NR_connect = 203,
	NR_sendto = 206,
	NR_getsockopt = 209,
	NR_getppid = 173,
	NR_statx = 291,
	NR_getuid = 174,
	NR_getgid = 176,
	NR_getxattr = 8,
	NR_fstatfs = 44,
	NR_faccessat2 = 439,
	NR_accept = 202,
	NR_accept4 = 242,
	NR_bind = 200,
	NR_getsockname = 204,
	NR_getpeername = 205,
	NR_pidfd_getfd = 438,
	NR_timer_create = 107,
	NR_timer_settime = 110,
	NR_timer_delete = 111,
	NR_getdents64 = 61,
	NR_lseek = 62,
	NR_writev = 66,
	NR_pwritev = 70,
	NR_pread64 = 67,
	NR_membarrier = 283,
	NR_recvfrom = 207,
	NR_shutdown = 210,
	NR_setsockopt = 208,
	NR_ioctl = 29,
	NR_sendfile = 71,
	NR_splice = 76,
	NR_tee = 77,
	NR_io_uring_setup = 425,
	NR_io_submit = 2,
	NR_unshare = 97,
	NR_kcmp = 272,
	NR_pidfd_open = 434,
	NR_unlinkat = 35,
	NR_select = NR_NONE(8),
	NR_epoll_create = NR_NONE(9),
	NR_epoll_create1 = 20,
	NR_pipe2 = 59,
	NR_open = NR_NONE(9),
	NR_openat2 = 437,
	NR_pipe = NR_NONE(10),
	NR_vmsplice = 75,
};

struct epoll_event {
	uint32_t events;
	uint64_t data;
};

#endif
