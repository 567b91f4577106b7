# SPDX-License-Identifier: Apache-2.0
"""One end writes garbage into its ring, again and again: the other one goes on, and comes to its own end."""

import platform
from pathlib import Path

import pytest
from playing import FLAGS, captured

from differential import program, run_in

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@pytest.mark.parametrize("seed", range(1, 7))
def test_garbage(seed: int, tmp_path: Path) -> None:
    done = run_in(tmp_path, captured([program("streams/vandal.c", flags=FLAGS), str(seed)]))
    assert (done.returncode, done.stdout) == (0, b"exit 0\n"), done.stderr


@pytest.mark.parametrize("kind", ["pair", "tcp", "pipe"])
def test_stopped_with_the_locks(kind: str, tmp_path: Path) -> None:
    """As with the kernel's: what may not wait does not, what waits can be interrupted, and nothing is lost."""
    argv = [program("streams/locked.c", flags=FLAGS), kind, "stopped"]
    done = run_in(tmp_path, captured(argv), timeout=30)
    assert (done.returncode, done.stdout.decode().splitlines()) == (
        0,
        [
            "read: Interrupted system call, in time",
            "write: Interrupted system call, in time",
            "read, without waiting: Resource temporarily unavailable, in time",
            "abc",
            "status 0",
        ],
    )


@pytest.mark.parametrize("kind", ["pair", "tcp", "pipe"])
def test_is_closed_to_who_was_stopped(kind: str, tmp_path: Path) -> None:
    done = run_in(tmp_path, captured([program("streams/locked.c", flags=FLAGS), kind, "closes"]))
    assert (done.returncode, done.stdout) == (0, b"close: done, in time\n")


@pytest.mark.parametrize("kind", ["pair", "tcp", "pipe"])
def test_runs_with_the_locks(kind: str, tmp_path: Path) -> None:
    argv = [program("streams/locked.c", flags=FLAGS), kind, "runs"]
    done = run_in(tmp_path, captured(argv), timeout=30)
    ended = "Input/output error" if kind == "pipe" else "Connection reset by peer"
    assert (done.returncode, done.stdout.decode().splitlines()) == (
        0,
        [
            "read: Interrupted system call, in time",
            "write: Interrupted system call, in time",
            f"read, without waiting: {ended}, in time",
            f"write: {ended}, in time",
            "status 9",
        ],
    )


@pytest.mark.parametrize("kind", ["pair", "tcp"])
@pytest.mark.parametrize("there", [0, 1, 600, 1000])
@pytest.mark.parametrize("how", ["silent", "counted"])
def test_killed_while_it_pours(kind: str, there: int, how: str, tmp_path: Path) -> None:
    """What was in the ring is read once, however much of it was in the socket by then."""
    argv = [program("streams/poured.c", flags=FLAGS), kind, str(there), "1000", how]
    done = run_in(tmp_path, captured(argv), timeout=30)
    assert (done.returncode, done.stdout) == (0, b"1000 bytes, then 0\n"), done.stderr
