/* SPDX-License-Identifier: Apache-2.0 */
/* What session.c and spawn.c have, for a drainer compiled in that nobody else talks to. A clock is its own. */
#ifndef LSCA_DRAIN_ALONE_H
#define LSCA_DRAIN_ALONE_H

#include "daemon/drainer/drain.h"

const uint32_t machine_elf = 62;

int futex_sleep(uint32_t *word, uint32_t value, long ms)
{
	(void)word;
	(void)value;
	(void)ms;
	return 0;
}

void futex_call(uint32_t *word)
{
	(void)word;
}

double ticks_rate(uint64_t ticks0, uint64_t mono0)
{
	return (double)(ticks0 + mono0);
}

double session_rate(void)
{
	return 1;
}

int above_standard(int fd)
{
	return fd;
}

int file_limit_raise(uint64_t *before)
{
	*before = 0;
	return 0;
}

void file_limit_restore(uint64_t before)
{
	(void)before;
}

#endif
