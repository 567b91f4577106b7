# SPDX-License-Identifier: Apache-2.0
"""A connection as the Python function has it that answers it."""

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from lsca.handlers.reports import to_stderr
from lsca.live.address import Address

PATIENCE: Final = 5.0  # seconds for a program to end its side, too
CHUNK: Final = 1 << 16


class Stream:
    """A connection that a Python function answers: the socket's methods, and `address`, the one that was asked for."""

    def __init__(self, s: socket.socket, address: Address) -> None:
        self.socket = s
        self.address = address
        self.recv = s.recv
        self.send = s.send
        self.sendall = s.sendall
        self.shutdown = s.shutdown
        self.settimeout = s.settimeout
        self.makefile = s.makefile

    def close(self) -> None:
        """Sends no more. What the program still sends is read and thrown away, so that it learns of no error."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


Handler = Callable[[Stream], object]


def run(handler: Handler, s: socket.socket, address: Address) -> None:
    """Has the function answer a connection; an error of its own is said, and ends the connection."""
    stream = Stream(s, address)
    with s:
        try:
            handler(stream)
            stream.close()
            with contextlib.suppress(OSError):
                s.settimeout(PATIENCE)
                while s.recv(CHUNK):
                    pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the program has had enough
        except Exception as error:
            name = getattr(handler, "__name__", repr(handler))
            to_stderr(f"{name}, which answers {address}, raised {type(error).__name__}: {error}")
