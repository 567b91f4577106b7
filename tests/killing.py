# SPDX-License-Identifier: Apache-2.0
"""Runs that are to be killed: a program that calls without end, and who is about it.

It counts, in a file of its own, the calls that have returned.
"""

import contextlib
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from differential import command, environment, program
from lsca import _native
from rawlog import areas_of

GRACE = 10.0


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Victim:
    """A run of two processes with two threads each, which call without end."""

    def __init__(self, where: Path, *options: str, route: str = "kernel") -> None:
        self.counters = where / "counters"
        self.log = where / "run.lsca"
        argv = [program("log/counted.c"), "endless", "2", "0", str(self.counters)]
        self.front = subprocess.Popen(
            command(route, argv, "-o", str(self.log), *options),
            env=environment(where),
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.launcher = 0
        self.programs: list[int] = []

    def counts(self) -> list[tuple[int, int, int]]:
        """(process, thread, calls that have returned)"""
        data = self.counters.read_bytes() if self.counters.exists() else b""
        return [row for row in struct.iter_unpack("<IIQ", data) if row[1]]

    def working(self) -> None:
        deadline = time.monotonic() + GRACE
        while len(self.counts()) < 4 or not all(row[2] for row in self.counts()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.launcher = children(self.front.pid)[0]
        self.programs = sorted({row[0] for row in self.counts()})

    def gone(self) -> None:
        """Waits until nobody is left who could write the log."""
        deadline = time.monotonic() + GRACE
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.front.wait(GRACE)
        while (
            held(self.log) or any(map(alive, self.programs)) or any(map(owned, areas_of(self.log)))
        ):
            assert time.monotonic() < deadline
            time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether it may still have memory; a zombie has none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def held(path: Path) -> bool:
    """Whether any process has the file open, or one of the further segments of that log."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it may go while we look
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(str(path)):
                    return True
    return False


def owned(area: str) -> bool:
    """Whether another process has locked a log's memory. One that dies shows no descriptors, and has it yet."""
    with contextlib.suppress(FileNotFoundError):
        inode = (Path(_native.AREA_DIRECTORY) / area).stat().st_ino
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return any(
            f":{inode}" in lock[-3] and lock[-4] != str(os.getpid())
            for lock in locks
            if len(lock) > 7
        )
    return False


@contextlib.contextmanager
def victim(where: Path, *options: str, route: str = "kernel") -> Iterator[Victim]:
    run = Victim(where, *options, route=route)
    try:
        run.working()
        yield run
    finally:
        kill(run.front.pid, run.launcher, *run.programs)
        run.gone()
        for name in areas_of(run.log):
            _native.area_recover(name)
