# SPDX-License-Identifier: Apache-2.0
"""A file's contents made up when it is opened: lsca run -s fake_file.py -- cat /etc/motd"""

import time

import lsca
from lsca import calls as c


@lsca.on(c.openat, path="/etc/motd")
def motd(call: c.openat) -> lsca.Verdict:
    return lsca.file(f"Hello, {call.process.name}. It is {time.strftime('%A')}.\n")
