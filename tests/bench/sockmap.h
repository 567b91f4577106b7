/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others do for connections on one machine, for pair.c: a BPF program that puts what is sent by one of two sockets
 * straight into the other one's queue (sk_msg and a sockmap). Loaded by bpf() itself, which needs its privileges.
 */
#ifndef LSCA_BENCH_SOCKMAP_H
#define LSCA_BENCH_SOCKMAP_H

#include "ends.h"

#include <linux/bpf.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { CLIENT, SERVER, BOTH };

static inline int bpf_call(int what, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, what, attr, sizeof *attr);
}

/* A map of two sockets, whose messages go to each other; `port`: the server's. */
static inline int sockmap_make(int port)
{
	union bpf_attr map = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = BOTH};
	int fd = bpf_call(BPF_MAP_CREATE, &map), program;
	const struct bpf_insn code[] = {
		{BPF_LDX | BPF_MEM | BPF_W, 6, 1, offsetof(struct sk_msg_md, local_port), 0},
		{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, SERVER},
		{BPF_JMP | BPF_JNE | BPF_K, 6, 0, 1, port},
		{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, CLIENT},
		{BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD, 0, fd},
		{0, 0, 0, 0, 0},
		{BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, BPF_F_INGRESS},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_msg_redirect_map},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SK_MSG,
		.insn_cnt = sizeof code / sizeof *code,
		.insns = (uintptr_t)code,
		.license = (uintptr_t)"GPL",
	};
	union bpf_attr attach = {.target_fd = fd, .attach_type = BPF_SK_MSG_VERDICT};

	if (fd < 0)
		die("no sockmap");
	program = bpf_call(BPF_PROG_LOAD, &load);
	if (program < 0)
		die("no BPF program");
	attach.attach_bpf_fd = program;
	if (bpf_call(BPF_PROG_ATTACH, &attach))
		die("no BPF program for the sockmap");
	return fd;
}

static inline void sockmap_add(int map, uint32_t key, int fd)
{
	union bpf_attr add = {.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&fd};

	if (bpf_call(BPF_MAP_UPDATE_ELEM, &add))
		die("no place in the sockmap");
}

#endif
