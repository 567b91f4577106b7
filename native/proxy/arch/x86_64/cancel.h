/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: the interrupted place of a signal, as the proxy's handler needs it. */
#ifndef LSCA_CANCEL_H
#define LSCA_CANCEL_H

#include <ucontext.h>

#define CONTEXT_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
/* At cancellable_insn: the call has been made and is to be made again. It leaves the address after it in rcx. */
#define CONTEXT_RESTARTS(uc) ((uc)->uc_mcontext.gregs[REG_RCX] == (long long)cancellable_insn + 2)

#endif
