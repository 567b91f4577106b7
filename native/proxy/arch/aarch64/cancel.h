/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: the interrupted place of a signal, as the proxy's handler needs it. */
#ifndef LSCA_CANCEL_H
#define LSCA_CANCEL_H

#include <ucontext.h>

#define CONTEXT_PC(uc) ((uc)->uc_mcontext.pc)
/* At cancellable_insn: no register tells a call that is to be made again from one about to be made. */
#define CONTEXT_RESTARTS(uc) 1

#endif
