# SPDX-License-Identifier: Apache-2.0
"""Keeps what goes to standard output in a file, too: TEE=out.txt lsca run -s tee.py -- git log"""

import os

import lsca
from lsca import calls as c

COPY = os.open(os.environ.get("TEE", "/tmp/tee.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)


@lsca.on(c.write, fd=1)
def tee(call: c.write) -> lsca.Verdict:
    written = call.proceed()
    if written > 0:
        os.write(COPY, call.buf[:written])
    return lsca.go_on
