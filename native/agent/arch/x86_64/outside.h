/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: numbers of the calls with which the agent looks about outside of its program: sockets, files. */
#ifndef LSCA_OUTSIDE_H
#define LSCA_OUTSIDE_H

enum {
	NR_getcwd = 79,
	NR_readlinkat = 267,
	NR_socket = 41,
	NR_connect = 42,
	NR_sendto = 44,
	NR_getsockopt = 55,
	NR_getppid = 110,
	NR_statx = 332,
	NR_getuid = 102,
	NR_getgid = 104,
	NR_getxattr = 191,
	NR_fstatfs = 138,
	NR_faccessat2 = 439,
	NR_accept = 43,
	NR_accept4 = 288,
	NR_bind = 49,
	NR_getsockname = 51,
	NR_getpeername = 52,
	NR_pidfd_getfd = 438,
	NR_timer_create = 222,
	NR_timer_settime = 223,
	NR_timer_delete = 226,
	NR_getdents64 = 217,
	NR_lseek = 8,
	NR_writev = 20,
	NR_pwritev = 296,
	NR_recvfrom = 45,
	NR_shutdown = 48,
	NR_setsockopt = 54,
	NR_ioctl = 16,
	NR_sendfile = 40,
	NR_splice = 275,
	NR_tee = 276,
	NR_io_uring_setup = 425,
	NR_io_submit = 209,
	NR_unshare = 272,
	NR_kcmp = 312,
	NR_pidfd_open = 434,
	NR_unlinkat = 263,
	NR_select = 23,
	NR_epoll_create = 213,
	NR_epoll_create1 = 291,
	NR_pipe2 = 293,
	NR_open = 2,
	NR_openat2 = 437,
	NR_pipe = 22,
	NR_vmsplice = 278,
};

struct epoll_event {
	uint32_t events;
	uint64_t data;
} __attribute__((packed));

#endif
