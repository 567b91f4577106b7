# SPDX-License-Identifier: Apache-2.0
"""Says who connects to what, and how that went: lsca run -s watch_connects.py -- curl http://127.0.0.1/"""

import os
import sys

import lsca
from lsca import calls as c


@lsca.on(c.connect)
def connects(call: c.connect) -> lsca.Verdict:
    result = call.proceed()
    how = "ok" if result >= 0 else os.strerror(-result)
    print(f"{call.process.name}[{call.process.pid}] -> {call.addr}: {how}", file=sys.stderr)
    return lsca.go_on
