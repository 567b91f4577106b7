# SPDX-License-Identifier: Apache-2.0
"""Random numbers that are the same every time: lsca run -s fake_random.py -- python3 -c 'import os; ...'"""

import random

import lsca
from lsca import calls as c

numbers = random.Random(42)


@lsca.on(c.getrandom)
def known(call: c.getrandom) -> lsca.Verdict:
    return lsca.ret(call.fill(buf=numbers.randbytes(call.buflen)))


@lsca.on(c.open, c.openat, path="/dev/*random")
def device(call: c.open | c.openat) -> lsca.Verdict:
    return lsca.file(numbers.randbytes(1 << 16))
