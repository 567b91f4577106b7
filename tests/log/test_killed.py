# SPDX-License-Identifier: Apache-2.0
"""Whoever is killed with -9, at whatever moment: every call that had returned is in the log, once it is recovered.

The program counts in a file of its own what has returned. LSCA_KILLS says how many moments are tried (60 in the suite).
"""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from killing import Victim, kill, victim
from lsca import _native
from rawlog import areas_of, gaps, read_segment

KILLS = int(os.environ.get("LSCA_KILLS", "60"))
WHO = ("program", "launcher", "front", "both", "program and launcher", "all")


def complete(run: Victim) -> None:
    """Recovers if need be; then all that had returned is there."""
    run.gone()
    for name in areas_of(run.log):
        # A daemon that starts meanwhile does the same.
        assert _native.area_recover(name)[0] in ("done", "owned", "failed")
    while areas_of(run.log):
        time.sleep(0.005)
    segment = read_segment(run.log, rows=False)
    assert segment.is_last
    rows = Counter[int]()
    for one in segment.runs:
        rows[one.tid] += one.rows
    for pid, tid, returned in run.counts():
        assert rows[tid] >= returned, f"thread {tid} of {pid}"
    assert gaps(segment.runs) == []
    assert (segment.lost, segment.undrained) == (0, 0)


@pytest.mark.parametrize("moment", range(KILLS))
def test_killed(tmp_path: Path, moment: int) -> None:
    chance = random.Random(moment)
    who = WHO[moment % len(WHO)]
    with victim(tmp_path) as run:
        time.sleep(chance.uniform(0, 0.2))
        match who:
            case "program":
                kill(*run.programs)
            case "launcher":
                kill(run.launcher)
            case "front":
                kill(run.front.pid)
            case "both":
                kill(run.launcher, run.front.pid)
            case "program and launcher":
                kill(*run.programs, run.launcher)
            case "all":
                kill(run.front.pid, run.launcher, *run.programs)
        time.sleep(chance.choice((0, 0.03)))
        kill(*run.programs)
        complete(run)
