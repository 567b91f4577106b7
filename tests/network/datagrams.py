# SPDX-License-Identifier: Apache-2.0
"""Servers for datagrams on this machine, and clients of some lines."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from networking import run

from lsca.live.address import Address

AWAY = "192.0.2.1"
Serve = Callable[[socket.socket, bytes, tuple[str, int]], object]


def pong(s: socket.socket, data: bytes, who: tuple[str, int]) -> None:
    s.sendto(b"pong " + data, who)


@contextmanager
def answering(serve: Serve = pong, host: str = "127.0.0.1", path: str = "") -> Iterator[str]:
    """A server for datagrams; its address as text."""
    family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind(path or (host, 0))
        name = path or str(Address(family, host, s.getsockname()[1]))

        def answer() -> None:
            while (got := s.recvfrom(1 << 17))[0] != b"end of the test":
                serve(s, *got)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield name
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as other:
                other.sendto(b"end of the test", path or s.getsockname())
            thread.join()


def words(address: str) -> list[str]:
    return address.replace("[", "").replace("]", "").rsplit(":", 1)


def free_port(host: str) -> str:
    """Where nobody is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind((host, 0))
        return str(s.getsockname()[1])


def python(text: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    head = "import os, select, socket, sys\nD = socket.SOCK_DGRAM\nF, U = socket.AF_INET, socket.AF_UNIX\n"
    return run(*options, "--", sys.executable, "-S", "-c", head + text)
