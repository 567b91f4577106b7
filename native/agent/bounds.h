/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LSCA_AGENT_BOUNDS_H
#define LSCA_AGENT_BOUNDS_H

#include "agent.h"

enum { KEEP_STRINGS = 16384 /* of argv: commands that link or compile much are longer than one thinks */ };

#pragma GCC visibility push(hidden)

int bounds_is_buffer(const struct call_arg *arg); /* plain, of a length that another argument says */
int bounds_is_environment(const struct call_row *row, int i); /* of the row's arguments; nobody's business */
uint32_t bounds_of(uint64_t nr); /* in bytes, at most */
uint32_t bounds_strings(const struct call_row *row); /* so much of it is for strings */

#pragma GCC visibility pop
#endif
