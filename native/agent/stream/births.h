/* SPDX-License-Identifier: Apache-2.0 */
/* What streams hear of children, of an exec and of a new image: inherit.c; from life.c, exec.c, start.c and join.c. */
#ifndef LSCA_AGENT_BIRTHS_H
#define LSCA_AGENT_BIRTHS_H

#include "agent.h"

#pragma GCC visibility push(hidden)

void stream_before_birth(struct birth *b, int waits); /* waits: the parent, for the child's exec or end */
void stream_after_birth(const struct birth *b, int64_t ret);
void stream_forked(void); /* in the child; then, when it knows who it is: */
void stream_child(const struct birth *b, const struct process_self *p);
int64_t stream_before_exec(const struct process_self *p, int is_caught); /* the next image has an agent */
void stream_exec_failed(const struct process_self *p);
void stream_begun(const struct process_self *p, int is_late); /* an image; it has run without an agent before */

#pragma GCC visibility pop
#endif
