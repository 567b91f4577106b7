# SPDX-License-Identifier: Apache-2.0
"""Proves that a write is judged by what its descriptor stands for then, though the agent keeps what it was told.

The program asks readlink before each write what ought to come of it (names.c). Files are renamed, linked and deleted,
descriptors closed, replaced, handed on and shared, by threads, children and other processes.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from handling import outcome, running

from differential import program
from lsca import _native
from lsca.rules import Ask, Return, Rule

RIGHT = "0 wrong of some"
SEEDS = int(os.environ.get("NAMES_SEEDS", "4"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with places to be hit, and others."""
    for name in ("hit", "miss"):
        (tmp_path / name / "deep").mkdir(parents=True)
    return tmp_path


def hit(place: Path) -> Rule:
    return Rule(calls=("write",), path=f"{place}/hit/**", verdict=Return(77))


def judged(place: Path, what: str, *argv: str, route: str) -> list[str]:
    return outcome(
        [hit(place)], None, program("handlers/names.c"), what, str(place), *argv, route=route
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_steps_of_three_processes(route: str, place: Path, seed: int) -> None:
    assert judged(place, "random", str(seed), "100", route=route) == [RIGHT]


def test_threads_that_write_meanwhile(route: str, place: Path) -> None:
    assert judged(place, "storm", "3000", route=route) == [RIGHT]


@pytest.mark.parametrize(
    "how", ["vfork", "files", "memory", "unshare", "range", "ring", "foreign", "chroot"]
)
def test_descriptors_that_are_shared_or_not(route: str, place: Path, how: str) -> None:
    assert judged(place, "sharing", how, route=route) == [RIGHT]


def test_a_handler_renames(route: str, place: Path) -> None:
    """What a function of the session's does counts as if a program had done it."""

    def back_and_forth(request: _native.Request) -> tuple[int, int]:
        one, other = place / "miss" / "0", place / "hit" / "0"
        if not one.exists():
            one, other = other, one
        one.rename(other)
        return (0, 0)

    rules = [hit(place), Rule(calls=("fsync",), verdict=Ask())]
    with running(
        rules,
        back_and_forth,
        program("handlers/names.c"),
        "told",
        str(place),
        route=route,
        stdin=True,
    ) as run:
        assert run.process.stdin
        for _ in range(3):
            run.process.stdin.write(b".")
        lines = run.end()
        assert not run.errors, run.errors
    assert lines == ["..." + RIGHT]


def test_an_outsider_renames(place: Path) -> None:
    """It is noticed after a tenth of a second at the latest."""
    argv = [program("handlers/names.c"), "told", str(place)]
    with running([hit(place)], None, *argv, stdin=True) as run:
        assert run.process.stdin and run.process.stdout
        one, other = place / "miss" / "0", place / "hit" / "0"
        for _ in range(3):
            assert run.process.stdout.read(1) == b"."
            one.rename(other)
            one, other = other, one
            time.sleep(0.3)
            run.process.stdin.write(b".")
            run.process.stdin.flush()
        assert run.end() == [RIGHT]


def test_nothing_of_this_is_seen_natively(place: Path) -> None:
    """Without the rule no write is a hit: it is the rule that the other tests see."""
    argv = [program("handlers/names.c"), "sharing", str(place), "vfork"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith("0 wrong")
