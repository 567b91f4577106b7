/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: the interrupted place of a signal, as the proxy's handler needs it. */
#ifndef LSCA_CANCEL_H
#define LSCA_CANCEL_H

#include <ucontext.h>

#define CONTEXT_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])

#endif
