# SPDX-License-Identifier: Apache-2.0
"""At most four downloads at a time: the fifth connection waits until one is closed, and nothing else waits with it."""

import asyncio

import lsca
from lsca import calls as c

places = asyncio.Semaphore(4)
open_sockets: set[tuple[int, int]] = set()


@lsca.on(c.connect, address=":1-65535")
async def connect(call: c.connect) -> lsca.Verdict:
    await places.acquire()
    open_sockets.add((call.process.pid, call.sockfd))
    return lsca.go_on


@lsca.on(c.close)
async def close(call: c.close) -> lsca.Verdict:
    key = (call.process.pid, call.fd)
    if key in open_sockets:
        open_sockets.remove(key)
        places.release()
    return lsca.go_on
