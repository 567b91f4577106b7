# SPDX-License-Identifier: Apache-2.0
"""Runs what docs/handlers.md and docs/faults.md show: their Python, their commands, and the output they promise."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from differential import ROOT

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("watch.py", "full.py", "name.py")


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall((DOCS / page).read_text()) if kind == language]


def commands(page: str) -> list[tuple[str, str]]:
    """Each command of a page, and what it says that it writes."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in zip(FILES, blocks("handlers.md", "python"), strict=False):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("command", "output"), commands("handlers.md") + commands("faults.md"))
def test_command(command: str, output: str, place: Path) -> None:
    words = shlex.split(command)
    assert words[:2] == ["lsca", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "lsca", "run", "--no-daemon", *words[2:]],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        timeout=60,
    )
    Path("/tmp/lsca-doc-big").unlink(missing_ok=True)
    wrong = "opnat" in command
    assert wrong or "lsca:" not in done.stderr, done.stderr
    assert output in done.stdout + done.stderr
    if "watch.py" in command:
        assert re.search(r'^openat\(AT_FDCWD, "/usr", O_RDONLY\|', done.stderr, re.MULTILINE)


def test_the_tests_of_the_page(tmp_path: Path) -> None:
    text = next(block for block in blocks("handlers.md", "python") if "def test_" in block)
    (tmp_path / "test_page.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_expressions_of_the_page() -> None:
    from lsca.services import faults

    lines = [line for block in blocks("faults.md", "") for line in block.splitlines()]
    assert len(faults.rules(*lines)) == len(lines) == 3
