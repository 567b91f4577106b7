# SPDX-License-Identifier: Apache-2.0
"""A machine without a network but for itself: lsca run -s offline.py -- curl http://192.0.2.1/"""

import socket

import lsca
from lsca import calls as c


@lsca.on(c.connect)
def local_only(call: c.connect) -> lsca.Verdict:
    address = call.addr
    if address.family == socket.AF_UNIX or address.plain_host in ("127.0.0.1", "::1"):
        return lsca.go_on
    return lsca.fail("ENETUNREACH")
