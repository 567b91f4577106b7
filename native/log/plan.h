/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the reader of a log must know of a call: its name, which of its arguments are descriptors and paths, what it
 * does to its process's descriptors. Generated from src/lsca/table/ by src/lsca/codegen.py into plans.c, for each
 * machine, since a log may come from another one.
 */
#ifndef LSCA_PLAN_H
#define LSCA_PLAN_H

#include <stdint.h>

#include "calls.h"

/* What a call that succeeds does to descriptors, when, and which arguments it needs for that. */
enum effect {
	EFFECT_NONE,
	EFFECT_OPENS,        /* at its end: the result stands for the path */
	EFFECT_MAKES,        /* at its end: for the text, where {} is the string at args[0]; no text: for the unknown */
	EFFECT_SOCKET,       /* at its end: domain, type */
	EFFECT_PIPE,         /* at its end: the two descriptors at args[0] */
	EFFECT_SOCKETPAIR,   /* the same; domain, type */
	EFFECT_ACCEPTS,      /* at its end: listener, peer's address */
	EFFECT_DUPLICATES,   /* at its end: the result stands for what args[0] does */
	EFFECT_FCNTL,        /* the same if args[1] is F_DUPFD or F_DUPFD_CLOEXEC */
	EFFECT_CLOSES,       /* at its beginning */
	EFFECT_CLOSES_RANGE, /* at its beginning: first, last, flags */
	EFFECT_LOCAL,        /* at its end: descriptor, its own address */
	EFFECT_PEER,         /* at its end: descriptor, its peer's address */
	EFFECT_CHDIR,        /* at its end: to the path */
	EFFECT_FCHDIR,       /* at its end: to a descriptor */
	EFFECT_FORKS,        /* at its beginning: the result is a process with a copy of all descriptors */
	EFFECT_CLONES,       /* the same, but for what the flags at args[0] share */
	EFFECT_CLONES_3,     /* the same; the flags are the first word of what args[0] points to */
	EFFECT_UNSHARES,     /* at its end: flags */
};

enum moves { MOVES_NOTHING, MOVES_IN, MOVES_OUT };

enum { PLAN_NONE = -1, PLAN_RESULT = CALL_ARGS /* not an argument but the result */ };

/* Indices are of arguments; PLAN_NONE where the call has none. */
struct call_plan {
	const char *name; /* NULL: there is no such call */
	const char *family;
	const char *text;
	int8_t fd;           /* first descriptor: an argument, else the result, else the directory of its path */
	int8_t fd2;          /* second one */
	int8_t path, dir;    /* first path, and the directory that it starts from (none: the working directory) */
	int8_t path2, dir2;
	int8_t raw2;         /* 1: the second name is a text of its own (a link's target), to be shown as it is */
	int8_t address;      /* socket address */
	int8_t message;      /* 1: which is the name in a struct flat_msg */
	int8_t argv;
	uint8_t moves;       /* enum moves: the result counts bytes */
	uint8_t effect;      /* enum effect */
	int8_t args[3];      /* the effect's */
};

struct error_name {
	int number;
	const char *name;
};

extern const struct call_plan plans_x86_64[CALL_LIMIT], plans_aarch64[CALL_LIMIT];
extern const struct error_name plan_errors[];
extern const uint32_t plan_error_count;

#endif
