# SPDX-License-Identifier: Apache-2.0
"""Sends all web traffic to a server on this machine: REDIRECT_PORT=8000 lsca run -s redirect.py -- curl http://1.2.3.4/"""

import os

import lsca
from lsca import calls as c

PORT = int(os.environ.get("REDIRECT_PORT", "8000"))


@lsca.on(c.connect, address=":80")
def elsewhere(call: c.connect) -> lsca.Verdict:
    call.replace(addr=f"127.0.0.1:{PORT}")
    return lsca.go_on
