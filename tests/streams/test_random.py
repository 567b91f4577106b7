# SPDX-License-Identifier: Apache-2.0
"""Random scripts of calls on both ends of a connection, or of two pipes, return over streams what they return natively.

LSCA_SCRIPTS=N plays N further ones, LSCA_SCRIPTS_FROM says from which on:
`LSCA_SCRIPTS=5000 make test T=tests/streams`.
"""

import os
import platform
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playing import compared, written

MORE = int(os.environ.get("LSCA_SCRIPTS", "0"))
FIRST = int(os.environ.get("LSCA_SCRIPTS_FROM", "1000"))
EXAMPLES = 60
kinds = pytest.mark.parametrize("pipes", [False, True], ids=["sockets", "pipes"])
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@kinds
def test_steady_scripts(pipes: bool, tmp_path: Path) -> None:
    """The same ones each time; most of them come to have a ring."""
    scripts = (written(random.Random(seed), pipes=pipes) for seed in range(EXAMPLES))
    assert sum(compared(*script, tmp_path) for script in scripts) > EXAMPLES * 3 // 4


@kinds
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.randoms(use_true_random=False))
def test_scripts_that_shrink(
    tmp_path_factory: pytest.TempPathFactory, pipes: bool, chance: random.Random
) -> None:
    """Fewer of them, of which the shortest one that fails is shown."""
    compared(*written(chance, pipes=pipes), tmp_path_factory.mktemp("script"))


@kinds
@pytest.mark.timeout(86400)
def test_many_scripts(pipes: bool, tmp_path: Path) -> None:
    wrong = []
    for seed in range(FIRST, FIRST + MORE):
        try:
            compared(*written(random.Random(seed), pipes=pipes), tmp_path)
        except AssertionError as error:
            wrong.append(f"seed {seed}: {error}")
    assert not wrong, "\n\n".join(wrong)
