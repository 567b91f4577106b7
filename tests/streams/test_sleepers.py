# SPDX-License-Identifier: Apache-2.0
"""What is sent to an end that sleeps comes as it does natively."""

import platform
from pathlib import Path

import pytest
from playing import FLAGS, captured, play

from differential import program

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@pytest.mark.parametrize("kind", ["tcp", "unix", "pair", "pipe"])
@pytest.mark.parametrize("how", ["reads", "two", "polls", "gives"])
def test_what_comes(kind: str, how: str, tmp_path: Path) -> None:
    argv = [program("streams/sleepers.c", flags=(*FLAGS, "-pthread")), kind, how]
    native = play(argv, tmp_path)
    ours = play(captured(argv), tmp_path)
    assert (native.status, native.others) == (0, [])
    assert (ours.status, ours.lines, ours.others) == (0, native.lines, [])
    assert ours.rings, "there was no ring"


@pytest.mark.parametrize("kind", ["pair", "pipe"])
def test_all_before_it_wakes(kind: str, tmp_path: Path) -> None:
    ours = play(captured([program("streams/behind.c", flags=FLAGS), kind]), tmp_path)
    assert (ours.status, ours.lines, ours.others) == (0, ["status 0"], [])
    assert ours.rings, "there was no ring"
