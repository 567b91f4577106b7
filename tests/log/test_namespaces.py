# SPDX-License-Identifier: Apache-2.0
"""Processes whose numbers mean others, or nobody, where the launcher is: nothing of them is lost, and the run ends."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from differential import command, program, run_in
from rawlog import CALL, areas_of, gaps, read_segment

GETPPID = 110
PROCESSES, CALLS = 12, 15_000


def run(where: Path, argv: list[str], *options: str) -> subprocess.CompletedProcess[bytes]:
    return run_in(where, command("kernel", argv, "-o", str(where / "run.lsca"), *options))


def test_nobody_is_taken_for_dead(tmp_path: Path) -> None:
    """Their chunks stay theirs, though there is no process of that number outside."""
    done = run(tmp_path, [program("log/namespaces.c"), str(PROCESSES), str(CALLS)])
    if done.returncode == 77:
        pytest.skip("only root can make pid namespaces")
    assert (done.returncode, done.stderr) == (0, b"")
    segment = read_segment(tmp_path / "run.lsca")
    assert segment.is_last and areas_of(tmp_path / "run.lsca") == []
    assert (segment.lost, segment.undrained, gaps(segment.runs)) == (0, 0, [])
    made = Counter(row.pid for row in segment.rows if row.kind == CALL and row.nr == GETPPID)
    assert sorted(made.values()) == [CALLS] * PROCESSES


def test_what_is_started_there_is_counted(tmp_path: Path) -> None:
    """It runs uncaught, which is said; the run ends when it has ended."""
    if not shutil.which("unshare"):
        pytest.skip("unshare is missing")
    done = run(tmp_path, ["unshare", "-p", "-f", "sh", "-c", "echo $$; true"])
    if b"unshare failed" in done.stderr:
        pytest.skip("only root can make pid namespaces")
    assert (done.returncode, done.stdout) == (0, b"1\n")
    assert b"1 program ran uncaught (first: started in a pid namespace of its own" in done.stderr
    segment = read_segment(tmp_path / "run.lsca")
    assert segment.is_last and segment.uncaught == 1
    done = run(tmp_path, ["unshare", "-p", "-f", "true"], "--strict")
    assert done.returncode == 125 and b"did not run (first: started in a pid" in done.stderr
