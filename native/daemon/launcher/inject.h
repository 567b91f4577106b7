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

enum { IMAGE_SEGMENTS = 8, CODE_SIZE = 8, STUB_SIZE = 384, PUT_OFF = 16 };

enum { LEAD_PAGE = 4096, LEAD_PAGES = 8, LEAD_HEAD = 64 };

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
	int fd;                 /* a memfd with the same, for all programs to map; -1: none */
	uint64_t data_at, data_size; /* the one segment of it that is not to be executed but written */
};

/* lead.c: a page with call sites, as it is in the file and as it is when they are patched. */
struct lead_page {
	uint8_t head[LEAD_HEAD]; /* the first instructions of the image it belongs to */
	int64_t offset;          /* from these */
	uint32_t count;  /* of sites */
	uint32_t serial; /* another one after every change */
	uint64_t used;
	struct lead_site sites[LEADS];
	uint8_t before[LEAD_PAGE], after[LEAD_PAGE];
};

struct leads {
	struct session *session;
	uint32_t seen, clock;
	struct lead_page pages[LEAD_PAGES];
};

enum inject_phase { INJECT_STUB, INJECT_MAP, INJECT_PROTECT, INJECT_AGENT };

struct injection {
	const struct image *image;
	const struct lead_page *lead; /* NULL: none */
	uint32_t lead_serial;
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
int inject_begin(struct injection *i, const struct image *image, struct leads *leads, pid_t tid, int session,
		 const struct agent_config *config, int hide_vdso);
int inject_step(struct injection *i, int status);
/* Gives the program its registers back and lets go of it. */
int inject_end(struct injection *i);
/* It died meanwhile. */
void inject_gone(struct injection *i);

/* The page for a program that starts at `entry` with `head`; tells its agent by `config`. NULL: none. */
const struct lead_page *lead_find(struct leads *leads, int memory, uint64_t entry, const uint8_t *head,
				  struct agent_config *config);
/* 0: all is as it was. */
int lead_write(const struct lead_page *p, uint32_t serial, int memory, uint64_t at);

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
int64_t machine_result(const struct user_regs_struct *regs);
uint64_t machine_stop(const struct user_regs_struct *regs); /* enum agent_stop */
uint64_t machine_config(const struct user_regs_struct *regs); /* address of agent_config, at a stop of the agent */
uint64_t machine_word(const struct user_regs_struct *regs);   /* the third argument of the agent's stop */
void machine_resume(struct user_regs_struct *regs);	     /* go on after the trap */
void machine_enter(struct user_regs_struct *regs, uint64_t entry);
void machine_fresh(struct user_regs_struct *regs); /* as execve leaves them */
int machine_has_keys(void); /* AGENT_KEYS */

#endif
