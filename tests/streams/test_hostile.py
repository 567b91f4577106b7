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
