# SPDX-License-Identifier: Apache-2.0
"""A machine with one CPU, for whoever asks how many there are: lsca run -s one_cpu.py -- nproc"""

import lsca
from lsca import calls as c


@lsca.on(c.sched_getaffinity)
def one(call: c.sched_getaffinity) -> lsca.Verdict:
    size = call.proceed()
    if size > 0:
        call.fill(mask=b"\x01" + bytes(size - 1))
    return lsca.go_on
