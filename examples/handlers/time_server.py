# SPDX-License-Identifier: Apache-2.0
"""A time server that is a Python function, in a network that loses a fifth: lsca run -s time_server.py -- PROGRAM"""

import struct
import time

from lsca.live.address import Address
from lsca.services.network import Net

SINCE_1900 = 2_208_988_800  # seconds from there to 1970
LEAST = 48  # bytes of a question

net = Net(loss=0.2, seed=1)


@net.answer_datagrams(":123")
def clock(peer: Address, data: bytes) -> bytes | None:
    if len(data) < LEAST:
        return None
    now = struct.pack("!II", int(time.time()) + SINCE_1900, 0)
    head = b"\x24\x01\x00\x00" + bytes(20)  # a server, of version 4, that has a clock of its own
    return head + data[40:48] + now + now
