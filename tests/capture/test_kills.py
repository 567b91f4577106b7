# SPDX-License-Identifier: Apache-2.0
"""Whoever is killed with -9, at whatever moment: no hang, no process left over, no file."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential import (
    MARKER,
    command,
    compare,
    environment,
    leftovers,
    processes,
    program,
    scratch,
)
from lsca import _native

GRACE = 5.0
MOMENTS = (0.0, 0.03, 0.1, 0.3)


def age(pid: int) -> tuple[int, int]:
    """Sorts processes by start and, within one tick of the clock, parents before their children."""
    ticks, depth = 0, 0
    with contextlib.suppress(OSError):
        while pid > 1:
            rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks, depth, pid = ticks or int(rest[19]), depth + 1, int(rest[1])
    return ticks or 1 << 62, depth


class Victim:
    """A run of the program that works without end."""

    def __init__(self, route: str, where: Path) -> None:
        marker = uuid.uuid4().hex
        self.marker = f"{MARKER}={marker}"
        self.process = subprocess.Popen(
            command(route, [program("capture/victim.c", name="victim")]),
            cwd=where,
            env=environment(where) | {MARKER: marker},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def working(self) -> None:
        """Waits until the program says that it has begun."""
        assert self.process.stdout
        assert self.process.stdout.readline() == b"working\n"

    def pids(self, name: str, count: int = 0) -> list[int]:
        """Its processes of that name, the oldest first, once there are so many."""
        deadline = time.monotonic() + GRACE
        while True:
            found = processes(self.marker, self.process.pid)
            named = sorted((age(pid), pid) for pid, comm in found.items() if comm == name)
            if len(named) >= count:
                return [pid for _, pid in named]
            assert time.monotonic() < deadline, f"no {count} processes named {name}: {found}"
            time.sleep(0.01)

    def ended(self) -> int | None:
        """The status of the launcher, None when it hangs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(GRACE)
        return None

    def left(self) -> tuple[str, ...]:
        """What is there after the time it may take to go away."""
        return leftovers(self.marker, self.process.pid, GRACE)

    def close(self) -> None:
        """Ends all of it."""
        leftovers(self.marker, self.process.pid, 0)
        self.process.wait(GRACE)
        assert self.process.stdout
        self.process.stdout.close()


def traces(where: Path) -> set[str]:
    """Names in the places where shared memory and sockets would be left behind."""
    places = [Path("/dev/shm"), Path(f"/run/user/{os.getuid()}")]
    found = {str(p) for place in places if place.is_dir() for p in place.glob("*lsca*")}
    found -= {
        f"/dev/shm/{name}" for name in _native.area_list()
    }  # logs of others: no run here has one
    return found | {p.name for p in where.iterdir() if not p.name.startswith("work-")}


@contextlib.contextmanager
def victim(route: str) -> Iterator[Victim]:
    with scratch() as where:
        before = traces(where)
        run = Victim(route, where)
        try:
            yield run
        finally:
            run.close()
        assert traces(where) - before == set()


@pytest.mark.parametrize("moment", MOMENTS)
def test_program_killed(route: str, moment: float) -> None:
    with victim(route) as run:
        run.working()
        time.sleep(moment)
        os.kill(run.pids("victim", 1)[0], signal.SIGKILL)
        assert run.ended() == -signal.SIGKILL
        assert run.left() == ()


@pytest.mark.parametrize("moment", MOMENTS)
def test_second_process_killed(route: str, moment: float) -> None:
    """The first one notices by an end of file, as it would natively, and ends."""
    with victim(route) as run:
        run.working()
        time.sleep(moment)
        os.kill(run.pids("victim", 2)[1], signal.SIGKILL)
        assert run.ended() == 3
        assert run.left() == ()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("which", [0, 1], ids=["of the first", "of the second"])
def test_proxy_killed(which: int, moment: float) -> None:
    """The program whose proxy died ends, and so does the other one, which is waiting for it."""
    with victim("proxy") as run:
        run.working()
        time.sleep(moment)
        os.kill(run.pids("lsca-proxy", 2)[which], signal.SIGKILL)
        assert run.ended() is not None
        assert run.left() == ()


@pytest.mark.parametrize("moment", MOMENTS)
def test_launcher_killed(route: str, moment: float) -> None:
    """Nothing hangs: what still runs afterwards goes away when the program is ended."""
    with victim(route) as run:
        run.working()
        time.sleep(moment)
        run.process.kill()
        run.process.wait(GRACE)
        time.sleep(0.2)
        for pid in run.pids("victim"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert run.left() == ()


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.02, 0.04, 0.06, 0.08])
def test_launcher_killed_while_starting(route: str, moment: float) -> None:
    with victim(route) as run:
        time.sleep(moment)
        run.process.kill()
        run.process.wait(GRACE)
        time.sleep(0.2)
        for pid in run.pids("victim"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert run.left() == ()


def test_children_shot_at_their_exec(route: str) -> None:
    """Killed while the launcher is at it: the parent hears of each of them, and none is said to have run uncaught."""
    compare([program("capture/shot.c"), "150"], routes=(route,), status=0)


def test_terminated(route: str) -> None:
    """A polite end: SIGTERM for the launcher reaches the program, whose death is the launcher's."""
    with victim(route) as run:
        run.working()
        run.process.terminate()
        assert run.ended() == -signal.SIGTERM
        assert run.left() == ()
