# SPDX-License-Identifier: Apache-2.0
"""Servers on this machine, in threads of the test, and the client of net.c in its forms."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from differential import BUILD, lsca, program, route

__all__ = [
    "accept",
    "client",
    "echo",
    "greet",
    "net",
    "read_all",
    "route",
    "run",
    "serving",
    "unix_echo",
]

GO = ("env", "CGO_ENABLED=0", "GO111MODULE=off", f"GOCACHE={BUILD / 'go'}", "go", "build")


@pytest.fixture(params=["dynamic", "static", "musl"])
def client(request: pytest.FixtureRequest) -> str:
    """net.c, as different programs have it."""
    kind = request.param
    return program("network/net.c", static=kind == "static", musl=kind == "musl")


@pytest.fixture
def net() -> str:
    return program("network/net.c")


def run(*options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """`lsca run` with these words."""
    return subprocess.run(
        [*lsca(), "run", "--no-daemon", *options],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def accept(listener: socket.socket, serve: Callable[[socket.socket], object]) -> None:
    """Serves one connection after the other until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            stream, _ = listener.accept()
            with stream, contextlib.suppress(OSError):
                serve(stream)


@contextlib.contextmanager
def serving(
    serve: Callable[[socket.socket], object], *, path: str = "", six: bool = False
) -> Iterator[str]:
    """A server; its address as text."""
    if path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        name = path
    else:
        family = socket.AF_INET6 if six else socket.AF_INET
        host = "::1" if six else "127.0.0.1"
        listener = socket.create_server((host, 0), family=family)
        name = (
            f"[::1]:{listener.getsockname()[1]}" if six else f"{host}:{listener.getsockname()[1]}"
        )
    thread = threading.Thread(target=accept, args=(listener, serve), daemon=True)
    thread.start()
    try:
        yield name
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_all(stream: socket.socket) -> bytes:
    data = b""
    while part := stream.recv(4096):
        data += part
    return data


def greet(stream: socket.socket) -> None:
    """Sends back what came, and says who it is."""
    data = read_all(stream)
    stream.sendall(b"real " + data)


@pytest.fixture
def echo() -> Iterator[str]:
    with serving(greet) as address:
        yield address


@pytest.fixture
def unix_echo(tmp_path: Path) -> Iterator[str]:
    with serving(greet, path=str(tmp_path / "s")) as address:
        yield address
