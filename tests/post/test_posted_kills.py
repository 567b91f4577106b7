# SPDX-License-Identifier: Apache-2.0
"""Proves that what was acknowledged is in the file, once and in order, whoever is killed at whatever moment.

The moments come from a seed. LSCA_POST_KILLS says how many there are: `make proof` has 1,000.
"""

import os
import random
import time
from pathlib import Path

import pytest
from posting import Posting, kill, memories, recover

KILLS = int(os.environ.get("LSCA_POST_KILLS", "24"))
# p the program, l the launcher, o the poster, r the front
WHO = ("p", "l", "o", "pl", "lp", "po", "op", "plo", "olp", "lop", "plor", "rlop")
KINDS = ("a", "w", "aw", "waaw")


def survivors_end(run: Posting, who: str) -> None:
    """Whatever the killed have left alone ends, too."""
    if "p" not in who:
        time.sleep(0.01)
        kill(run.program)
    run.over()
    recover()


@pytest.mark.parametrize("number", range(KILLS))
def test_what_was_acknowledged_is_there(number: int, tmp_path: Path) -> None:
    chance = random.Random(number)
    who = WHO[number % len(WHO)]
    kinds = chance.choice(KINDS)
    options = ["--post-sync"] if chance.random() < 0.1 else []
    run = Posting(tmp_path, *options, kinds=kinds, pause=chance.choice((0, 0, 0, 50, 3000)))
    try:
        run.working()
        time.sleep(chance.random() ** 2 * 0.1)
        for pid in run.pids(who):
            kill(pid)
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.003)
        survivors_end(run, who)
        assert run.check() > 0
    finally:
        run.end()
    assert not memories()
