# SPDX-License-Identifier: Apache-2.0
"""Real logs for the tests of reading them: of sample.c, with and without its children."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import differential

LSCA = [sys.executable, "-m", "lsca"]


@dataclass(frozen=True)
class Made:
    """A log, what was run, and where."""

    log: str
    program: str
    directory: Path
    status: int


Lsca = Callable[..., "subprocess.CompletedProcess[str]"]


def call(*words: object, **more: object) -> "subprocess.CompletedProcess[str]":
    command = [*LSCA, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="session")
def lsca() -> Lsca:
    """Runs a verb; gives what subprocess.run gives."""
    return call


@pytest.fixture(scope="session")
def sample() -> str:
    """The program's path."""
    return str(differential.program("reading/sample.c", static=True))


def made(where: Path, program: str, *args: str) -> Made:
    log = where / "log.lsca"
    work = where / "work"
    work.mkdir()
    done = call("run", "--no-daemon", "-s", 200, "-o", log, "--", program, *args, cwd=work)
    assert not done.stderr, done.stderr
    return Made(str(log), program, work, done.returncode)


@pytest.fixture(scope="session")
def family(sample: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A log of the sample with its children. Nobody changes it."""
    return made(tmp_path_factory.mktemp("family"), sample)


@pytest.fixture(scope="session")
def single(sample: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A log of the sample without children."""
    return made(tmp_path_factory.mktemp("single"), sample, "alone")
