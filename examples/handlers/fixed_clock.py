# SPDX-License-Identifier: Apache-2.0
"""It is always noon on the first of May 2000: lsca run --no-vdso -s fixed_clock.py -- date"""

import lsca
from lsca import calls as c

NOON = 957_182_400
CLOCK_REALTIME = 0


@lsca.on(c.clock_gettime)
def noon(call: c.clock_gettime) -> lsca.Verdict:
    if call.clockid != CLOCK_REALTIME:
        return lsca.go_on  # waiting goes by another clock
    call.fill(tp={"tv_sec": NOON, "tv_nsec": 0})
    return lsca.ret(0)
