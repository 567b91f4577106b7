# SPDX-License-Identifier: Apache-2.0
"""Runs with posted writes whose program counts what was acknowledged, to be killed in any way."""

import contextlib
import os
import struct
import subprocess
import time
from pathlib import Path

from differential import command, environment, program
from killing import children, kill
from lsca import _native

GRACE = 15.0
FILES = 4
PAD = 90


def comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def is_gone(pid: int) -> bool:
    """Dead, and with nothing open any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def below(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *below(child))]


def memories() -> list[Path]:
    """What runs of ours have in /dev/shm."""
    return sorted(Path("/dev/shm").glob(f"lsca-post-{os.getuid()}-*"))


def line(number: int) -> bytes:
    return b"%08d %s\n" % (number, b"x" * (number * 7 % PAD))


class Posting:
    """`lsca run --post` of numbered.c: the processes of it, and what they have written."""

    def __init__(
        self,
        where: Path,
        *options: str,
        lines: int = 1_000_000,
        pause: int = 0,
        kinds: str = "a",
        words: str = 'exec "$0" "$@"',
    ) -> None:
        self.counters = where / "counters"
        self.counters.write_bytes(bytes(4096))
        self.files = [where / f"file{number}" for number in range(len(kinds))]
        named, opened = [], ""
        for number, (kind, path) in enumerate(zip(kinds, self.files, strict=True)):
            # these have their files from a shell, j and d by two descriptors
            how = {"b": ("i", ">>"), "j": ("j", ">>"), "c": ("i", ">"), "d": ("j", ">")}.get(kind)
            named.append(f"{how[0]}{10 + number}" if how else f"{kind}{path}")
            opened += f" {10 + number}{how[1]}{path}" if how else ""
        argv = [program("post/numbered.c"), str(self.counters), str(lines), str(pause), *named]
        if opened:
            argv = ["/bin/bash", "-c", words + opened, *argv]
        self.front = subprocess.Popen(
            command("kernel", argv, "--post", "**/file*", "--post-after", "1", *options),
            env=environment(where),
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.launcher = self.program = self.poster = 0
        self.programs: list[int] = []

    def acknowledged(self) -> list[int]:
        return list(
            struct.unpack(f"<{len(self.files)}Q", self.counters.read_bytes()[: 8 * len(self.files)])
        )

    def working(self, least: int = 1, programs: int = 1) -> None:
        """Waits until all files are written to, and everybody is known."""
        deadline = time.monotonic() + GRACE
        while min(self.acknowledged()) < least:
            assert time.monotonic() < deadline and self.front.poll() is None, self.front.stderr
            time.sleep(0.001)
        for pid in children(self.front.pid):
            if comm(pid) == "lsca-poster":
                self.poster = pid
            else:
                self.launcher = pid
        while len(self.programs) < programs:
            assert time.monotonic() < deadline, "not all programs are there"
            self.programs = [pid for pid in below(self.launcher) if comm(pid) == "numbered"]
        self.program = self.programs[0]

    def pids(self, who: str) -> list[int]:
        """Of those named by their first letters; fRont."""
        return [
            {"p": self.program, "l": self.launcher, "o": self.poster, "r": self.front.pid}[one]
            for one in who
        ]

    def over(self) -> None:
        """Waits until nobody of the run is left."""
        self.front.communicate(timeout=GRACE)
        deadline = time.monotonic() + GRACE
        while self._others():
            assert time.monotonic() < deadline, "somebody stays"
            time.sleep(0.002)

    def _others(self) -> list[int]:
        return [
            pid for pid in (*self.programs, self.launcher, self.poster) if pid and not is_gone(pid)
        ]

    def end(self) -> None:
        kill(*self._others(), self.front.pid)
        self.front.communicate(timeout=GRACE)

    def check(self) -> int:
        """Everything acknowledged is there, once and in order; how many lines that were."""
        total = 0
        for path, acknowledged in zip(self.files, self.acknowledged(), strict=True):
            data = path.read_bytes()
            expected, number = bytearray(), 0
            while len(expected) < len(data):
                expected += line(number)
                number += 1
            assert data == expected[: len(data)], f"{path.name} differs from what was written"
            whole = data.count(b"\n")
            assert whole >= acknowledged, f"{path.name}: {whole} of {acknowledged} lines"
            assert whole <= acknowledged + 1, f"{path.name}: {whole} lines, {acknowledged} written"
            total += whole
        return total


def recover() -> None:
    """Until nothing is left: a poster that the front has started last may be about to end."""
    deadline = time.monotonic() + GRACE
    while _native.post_recover() or memories():
        assert time.monotonic() < deadline, "memory of posted writes is left"
        time.sleep(0.005)
