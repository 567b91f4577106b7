# SPDX-License-Identifier: Apache-2.0
"""Connections that say nothing give the memory of their rings back, and speak on as if nothing had been."""

import platform
from pathlib import Path

import pytest
from playing import FLAGS, captured

from differential import program, run_in

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")
RINGS = 20


@pytest.mark.parametrize("how", ["epoll", "poll"])
def test_given_back(how: str, tmp_path: Path) -> None:
    argv = [program("streams/idle.c", flags=FLAGS), how, str(RINGS)]
    done = run_in(tmp_path, captured(argv), timeout=60)
    assert (done.returncode, done.stdout) == (0, b"status 0\n"), done.stderr
    words = dict(line.split() for line in done.stderr.decode().splitlines())
    assert int(words["rings"]) == RINGS
    assert int(words["busy"]) > 100  # KiB of a connection
    assert int(words["idle"]) <= 8
