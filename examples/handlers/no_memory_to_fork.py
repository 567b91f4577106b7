# SPDX-License-Identifier: Apache-2.0
"""No memory for another process: lsca run -s no_memory_to_fork.py -- redis-server, and then redis-cli bgsave"""

import lsca
from lsca import calls as c

CLONE_VM = 0x100  # threads and posix_spawn share the memory, and need none


@lsca.on(c.fork, c.clone, when=lambda call: not getattr(call, "flags", 0) & CLONE_VM)
def full(call: c.fork | c.clone) -> lsca.Verdict:
    return lsca.fail("ENOMEM")
