# SPDX-License-Identifier: Apache-2.0
"""Blackens a word in everything that is written to standard output: lsca run -s censor.py -- cat letter"""

import lsca
from lsca import calls as c

WORD = b"secret"


@lsca.on(c.write, fd=1, when=lambda call: WORD in call.buf)
def censored(call: c.write) -> lsca.Verdict:
    call.replace(buf=call.buf.replace(WORD, b"*" * len(WORD)))
    return lsca.go_on
