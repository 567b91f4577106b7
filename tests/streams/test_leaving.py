# SPDX-License-Identifier: Apache-2.0
"""kill -9 of one end at random moments: the other one sees what the kernel would have shown it, and nothing is left."""

import contextlib
import os
import platform
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import FLAGS, captured

from differential import environment, program, run_in

ROUNDS = 40
LONGEST = 1_000_000  # us
RINGS = Path("/dev/shm")
PATIENCE = 10.0
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")
# While two play, it depends on the moment which of them the kernel would have shown.
SEEN = {
    ("tcp", "reads"): {"end"},
    ("tcp", "writes"): {"ECONNRESET"},
    ("tcp", "plays"): {"end", "ECONNRESET"},
    ("unix", "reads"): {"end"},
    ("unix", "writes"): {"EPIPE"},
    ("unix", "plays"): {"end", "ECONNRESET", "EPIPE"},
}


def left() -> set[str]:
    return {path.name for path in RINGS.glob("lsca-stream-*")}


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Other runs on this machine have rings as well, which go away with them."""
    before = left()
    yield
    deadline = time.monotonic() + PATIENCE
    while new := left() - before:
        alive = {name for name in new if Path(f"/proc/{name.split('-')[2]}").exists()}
        assert new == alive or time.monotonic() < deadline, new
        if new == alive and time.monotonic() > deadline:
            return
        time.sleep(0.05)


@pytest.mark.parametrize(("kind", "how"), SEEN)
def test_the_other_end_sees_it(kind: str, how: str, tmp_path: Path) -> None:
    argv = [program("streams/leaver.c", flags=FLAGS), kind, how, str(ROUNDS)]
    natively = set(run_in(tmp_path, argv).stdout.decode().split())
    assert natively <= SEEN[kind, how]
    with nothing_left():
        done = run_in(tmp_path, captured(argv))
    assert set(done.stdout.decode().split()) <= SEEN[kind, how]
    words = done.stderr.decode().split()
    assert int(words[3]) > ROUNDS // 2, done.stderr
    assert int(words[1]) < LONGEST, done.stderr


@pytest.mark.parametrize("seed", range(8))
def test_everybody_is_killed(seed: int, tmp_path: Path) -> None:
    """The whole run, launcher and all, while connections come to have rings: what is left goes with the next run."""
    chance = random.Random(seed)
    argv = captured([program("streams/leaver.c", flags=FLAGS), "tcp", "plays", "1000"])
    before = left()
    run = subprocess.Popen(
        argv,
        env=environment(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(chance.uniform(0.1, 0.5))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while [pid for pid in filter(str.isdigit, os.listdir("/proc")) if belongs(pid, run.pid)]:
        assert time.monotonic() < deadline
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if belongs(pid, run.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)
    run_in(tmp_path, captured(["true"]))
    dead = {n for n in left() - before if not Path(f"/proc/{n.split('-')[2]}").exists()}
    assert not dead


def belongs(pid: str, session: int) -> bool:
    """Whether it lives, and was begun by that run."""
    with contextlib.suppress(OSError, IndexError):
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return rest[0] not in "ZX" and int(rest[3]) == session
    return False
