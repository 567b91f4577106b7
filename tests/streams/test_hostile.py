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
