# SPDX-License-Identifier: Apache-2.0
"""The launcher's C extension, native/daemon/module.c."""

from collections.abc import Callable, Mapping
from typing import TypedDict

class Process(TypedDict):
    """One program process of a session. `calls`: completed by kernel, proxy, local, handler."""

    pid: int
    proxy: int
    parent: int
    calls: tuple[int, int, int, int]
    alive: bool

class Snapshot(TypedDict):
    """A session at one moment; `launcher` is 0 before it has started."""

    launcher: int
    proxy: bool
    log: bool
    uncaught: int
    lost: int
    processes: list[Process]

class Request:
    """One call that waits for its answer; over once the callback has returned (RuntimeError then)."""

    nr: int
    args: tuple[int, ...]
    pid: int
    tid: int
    rule: int
    interrupted: bool

    def string(self, index: int, /) -> bytes: ...
    def memory(self, index: int, /) -> bytes: ...
    def read(self, address: int, size: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> None: ...
    def fill(self, index: int, data: bytes, /) -> int: ...
    def proceed(
        self, args: tuple[int, ...] | None = None, replace: Mapping[int, bytes] | None = None
    ) -> int: ...
    def open(self, fd: int, flags: int, /) -> int: ...
    def wait(self, seconds: float, /) -> bool: ...

Callback = Callable[[Request], tuple[int, int]]
OnError = Callable[[Request, BaseException], object]

class Server:
    """The threads that answer a session's calls."""

    def stop(self) -> None: ...

def rules_set(session: int, rules: bytes, /) -> None:
    """Puts rules into force, made by lsca.rules.compile_rules. ValueError if they are none."""

def serve(
    session: int, callback: Callback, *, threads: int = 64, on_error: OnError | None = None
) -> Server:
    """Answers a session's calls with `callback`, until the server is stopped. OSError."""

def session_create(
    is_proxy: bool, has_log: bool, preloaded: int = 0, handlers: bool = False, /
) -> int:
    """A new session's memory, as a descriptor (close-on-exec). OSError.

    `preloaded` is the id of a program that has its agent already, so that nobody will launch it.
    """

def session_has(fd: int, pid: int, /) -> bool:
    """Whether a process of this number is in a session."""

def session_keep(fd: int, log: int, log_path: bytes, /) -> int:
    """Starts a process that stays with a session until its last program has ended; its id. OSError.

    It writes the log, if `log` is a descriptor and not -1, whatever becomes of the process that calls.
    """

def session_snapshot(fd: int, /) -> Snapshot:
    """What is going on in a session. OSError if the descriptor is not one's memory."""

def run(
    session: int,
    argv: list[bytes],
    env: list[bytes],
    agent: bytes,
    proxy: bytes,
    *,
    log: int = -1,
    log_path: bytes = b"",
    is_proxy: bool = False,
    hide_vdso: bool = False,
    drop: bool = False,
    strict: bool = False,
    unpatched: bool = False,
    serve: Callback | None = None,
    threads: int = 64,
    on_error: OnError | None = None,
) -> tuple[int, int, str]:
    """Runs a program to its end: exit code or -1, signal or 0, and a text if it is LSCA's own failure.

    `drop` lets go of this process's standard input and output and of its inheritable descriptors once the program has
    them; only for a process that has nothing else to do. `log` is closed by the launcher, not here. `strict` refuses
    programs that cannot be captured; if there was one, the run has failed. `unpatched` leaves call sites as they are.
    """

def probe() -> dict[str, int]:
    """What this machine allows: 0 or the errno of the attempt, by name."""
