# SPDX-License-Identifier: Apache-2.0
"""The launcher's C extension, native/daemon/module.c."""

from collections.abc import Sequence
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

class Area(TypedDict):
    """What an area says of its run: process ids, the log's file (may be empty), calls kept by a flight recorder."""

    launcher: int
    program: int
    output: str
    flight: int

ABI_VERSION: int
AREA_DIRECTORY: str
KEEP_MOST: int
KEEP_FDS: int

def session_create(
    is_proxy: bool,
    log_path: bytes | None,
    preloaded: int = 0,
    *,
    keep: int = 0,
    keep_read: Sequence[int] = (),
    keep_write: Sequence[int] = (),
    sync: int = 0,
    lossy: bool = False,
    rotate_size: int = 0,
    rotate_age: int = 0,
    flight: int = 0,
) -> tuple[int, int]:
    """A new session's memory, and that of its log (-1 if there is none), as descriptors (close-on-exec). OSError.

    `preloaded` is the id of a program that has its agent already, so that nobody will launch it. `log_path` is
    absolute, empty for what is no file, None without a log. `keep` bytes of plain buffers are kept, all of what goes
    through the descriptors `keep_read` and `keep_write`. `sync`: 0 at the end, 1 at each segment's, 2 every second.
    """

def area_list() -> list[str]:
    """The names of all areas of this user."""

def area_remove(fd: int, /) -> None:
    """Takes away the name of an area that will not be used."""

def area_about(name: str, /) -> Area:
    """What its first page says. OSError; ValueError if it says nothing that makes sense."""

def area_recover(name: str, output: bytes | None = None, /) -> tuple[str, int, str, str]:
    """Brings what is left in an area into its log, or into `output`: "done", "alive" (programs still write), "owned"
    (somebody is responsible for it) or "failed"; records brought; the log's file; a text."""

def area_dump(name: str, fd: int, /) -> int:
    """Writes what an area has in memory as a log of its own; how many records. OSError."""

def session_has(fd: int, pid: int, /) -> bool:
    """Whether a process of this number is in a session."""

def session_keep(fd: int, area: int, log: int, log_path: bytes, /) -> int:
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
    area: int = -1,
    log_path: bytes = b"",
    is_proxy: bool = False,
    hide_vdso: bool = False,
    drop: bool = False,
    strict: bool = False,
    unpatched: bool = False,
) -> tuple[int, int, str]:
    """Runs a program to its end: exit code or -1, signal or 0, and a text if it is LSCA's own failure.

    `drop` lets go of this process's standard input and output and of its inheritable descriptors once the program has
    them; only for a process that has nothing else to do. `log` is closed by the launcher, not here. `strict` refuses
    programs that cannot be captured; if there was one, the run has failed. `unpatched` leaves call sites as they are.
    """

def probe() -> dict[str, int]:
    """What this machine allows: 0 or the errno of the attempt, by name."""
