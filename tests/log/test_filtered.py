# SPDX-License-Identifier: Apache-2.0
"""A program's own seccomp filter kills it no sooner with a log than without one."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

from differential import command, environment, program
from killing import children
from rawlog import CALL, gaps, read_segment

GETPGID = 121
CALLS = 500_000  # more than the first view of the log's memory holds


def test_a_filter_of_its_own(tmp_path: Path) -> None:
    """Nobody drains for a moment, so that the agent must go where it has not been yet."""
    log = tmp_path / "run.lsca"
    with subprocess.Popen(
        command("kernel", [program("log/filtered.c"), str(CALLS)], "-o", str(log)),
        env=environment(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as front:
        assert front.stdout and front.stderr
        assert front.stdout.readline() == b"filtered\n"
        (launcher,) = children(front.pid)
        os.kill(launcher, signal.SIGSTOP)
        try:
            front.wait(1)
        except subprocess.TimeoutExpired:
            os.kill(launcher, signal.SIGCONT)
        assert (front.wait(60), front.stderr.read()) == (0, b"")
    segment = read_segment(log)
    assert segment.is_last and (segment.lost, gaps(segment.runs)) == (0, [])
    made = Counter(row.pid for row in segment.rows if row.kind == CALL and row.nr == GETPGID)
    assert sorted(made.values()) == [CALLS] * 2
