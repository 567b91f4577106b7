/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the agent into a program that stands at its exec stop. The launcher starts an injection, then gives it every
 * further stop of that program until it is over; nothing here waits. inject_<machine>.c knows the registers.
 */
#ifndef LSCA_INJECT_H
#define LSCA_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "abi.h"
#include "known.h"

enum { IMAGE_SEGMENTS = 8, CODE_SIZE = 8, STUB_SIZE = 512, PUT_OFF = 16 };

struct image_segment {
	uint64_t at, size; /* whole pages, from the agent's base */
	int prot;
};

struct image_relocation {
	uint64_t at, addend; /* 64 bits at `at` become base + addend */
};

/* The agent's file, read once: what every program gets a copy of. */
struct image {
	uint8_t *bytes;
	uint64_t size, span; /* bytes with contents; bytes of address space */
	struct image_segment segments[IMAGE_SEGMENTS];
	uint32_t segment_count, relocation_count;
	struct image_relocation *relocations;
	uint64_t entry, config, enter; /* agent_entry, agent_config, agent_enter */
	uint64_t alone; /* agent_alone, or 0: it cannot start by itself */
	uint64_t waits, waits_end, waits_over; /* agent_waits, the trap at its end, and what comes then */
	int fd;                 /* a memfd with the same, for all programs to map; -1: none */
	uint64_t data_at, data_size; /* the one segment of it that is not to be executed but written */
};

enum inject_phase { INJECT_STUB, INJECT_MAP, INJECT_PROTECT, INJECT_AGENT };

struct injection {
	const struct image *image;
	pid_t tid;
	int memory, session; /* the program's /proc/PID/mem; the session's descriptor here */
	enum inject_phase phase;
	uint32_t segment;
	uint64_t base, mask;
	struct user_regs_struct saved;
	uint64_t code_at, code_size;
	uint8_t code[STUB_SIZE]; /* the program's own bytes where our few instructions stand */
	int poked, masked;
	uint8_t put_off[PUT_OFF]; /* signals that arrived meanwhile, for afterwards */
	uint32_t put_off_count;
	struct agent_config config;
	const char *why; /* why it failed; `error` is a negative errno or 0 */
	int error;
	char text[64];
};

/* NULL, or what is wrong with the file. */
const char *image_load(struct image *image, const char *path);
/* Puts it where programs can map it. Not everywhere possible; they get copies of their own then. */
void image_share(struct image *image);

/* Both: 1 the agent runs, 0 continued and to be stepped at its next stop, -1 failed. Over: call inject_end. */
int inject_begin(struct injection *i, const struct image *image, pid_t tid, int session,
		 const struct agent_config *config, int hide_vdso);
int inject_step(struct injection *i, int status);
/* Gives the program its registers back and lets go of it. */
int inject_end(struct injection *i);
/* It died meanwhile. */
void inject_gone(struct injection *i);

/* alone.c: 1 the agent starts by itself, and the program is let go; 0 it has to be inject_begin; -1 failed. */
int inject_alone(struct injection *i, const struct image *image, struct known *known, pid_t tid, int session,
		 const struct agent_config *config);
/* At a stop of such a program, traced anew because nothing was heard of it: as inject_begin, or NEEDS_NOBODY. */
int inject_look(struct injection *i);
enum { NEEDS_NOBODY = 2 };

/* For alone.c */
int inject_fail(struct injection *i, const char *why, int error);
uint64_t inject_wish(uint64_t entry);
/* It waits for us with its agent, or (NULL) before it has one: as inject_look. */
int inject_return(struct injection *i, struct user_regs_struct *agent);

/* ---- one file per machine --------------------------------------------------------------------------------------- */

extern const uint32_t machine_elf, machine_relative;
extern const uint64_t machine_mmap, machine_mprotect;
/* Instructions that make one system call and trap; the first one may come out of an execve. */
void machine_code(uint8_t code[CODE_SIZE], uint64_t nr);
/* Fails for a program of another machine or word size. */
int machine_get(pid_t tid, struct user_regs_struct *regs);
int machine_set(pid_t tid, const struct user_regs_struct *regs);
uint64_t machine_pc(const struct user_regs_struct *regs);
uint64_t machine_sp(const struct user_regs_struct *regs);
void machine_call(struct user_regs_struct *regs, uint64_t code_at, int first, uint64_t nr, const uint64_t args[6]);
/* Instructions that open `path`, map the image, and enter the agent with `config`. Size 0: none for this machine. */
extern const uint8_t machine_stub[];
extern const uint32_t machine_stub_size;
void machine_start(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
		   uint64_t config, uint64_t wish);
/* The same for an agent that starts by itself; from machine_alone_waits on they wait. */
extern const uint8_t machine_alone[];
extern const uint32_t machine_alone_size, machine_alone_waits;
void machine_start_alone(struct user_regs_struct *regs, const struct image *image, uint64_t code_at, uint64_t path,
			 uint64_t config, uint64_t wish);
int64_t machine_result(const struct user_regs_struct *regs);
uint64_t machine_stop(const struct user_regs_struct *regs); /* enum agent_stop */
uint64_t machine_config(const struct user_regs_struct *regs); /* address of agent_config, at a stop of the agent */
void machine_resume(struct user_regs_struct *regs);	     /* go on after the trap */
void machine_enter(struct user_regs_struct *regs, uint64_t entry);
void machine_jump(struct user_regs_struct *regs, uint64_t to); /* and nothing else */
void machine_fresh(struct user_regs_struct *regs); /* as execve leaves them */
int machine_has_keys(void); /* AGENT_KEYS */

#endif
