# SPDX-License-Identifier: Apache-2.0
"""Tells a program's connected socket that nobody is where it sends: it finds ECONNREFUSED, as the kernel would say it.

The kernel says so itself: something is sent through the program's socket while the box there takes nothing from it.
"""

import contextlib
import ctypes
import socket
from collections.abc import Iterable
from typing import Final

from lsca.live.address import Address
from lsca.live.opened import File

NOBODY: Final = bytes(16)  # a sockaddr of AF_UNSPEC: ends a connection
_libc: Final = ctypes.CDLL(None, use_errno=True)


def refuse(box: socket.socket, address: Address, who: object, connected: Iterable[File]) -> None:
    """Of the sockets that were connected to a box, finds the one with the address `who`, and tells it."""
    if box.family == socket.AF_UNIX or not isinstance(who, tuple):
        return
    for file in reversed(list(connected)):
        with contextlib.suppress(OSError):  # closed, or its process may not be asked
            with socket.socket(fileno=file.duplicate()) as s:
                host, port = s.getsockname()[:2]
                own = Address(s.family, host, port)
                peer = Address(s.family, *s.getpeername()[:2])
                if (own.plain_host, port) == who[:2] and peer == address:
                    _tell(box, s)
                    return


def _tell(box: socket.socket, s: socket.socket) -> None:
    box.connect(box.getsockname())  # from now on it takes only what it sends itself
    try:
        s.send(b"", socket.MSG_DONTWAIT)
    finally:
        _libc.connect(box.fileno(), NOBODY, len(NOBODY))
