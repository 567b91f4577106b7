# SPDX-License-Identifier: Apache-2.0
"""Many processes and connections at once and in turn: every byte arrives once, and nothing piles up."""

import platform
from pathlib import Path

import pytest
from playing import captured

from differential import program, run_in

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@pytest.mark.parametrize("how", ["threads", "forks 60", "prefork 200", "turns 1000"])
def test_crowd(how: str, tmp_path: Path) -> None:
    argv = [program("streams/holders.c"), *how.split()]
    native, ours = run_in(tmp_path, argv), run_in(tmp_path, captured(argv))
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, native.stdout, b"")
