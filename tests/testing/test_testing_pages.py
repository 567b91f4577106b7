# SPDX-License-Identifier: Apache-2.0
"""Runs what docs/pytest.md and docs/explore.md show: their tests, and their commands."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from differential import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return [block for kind, block in BLOCK.findall(text) if kind == language]


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_tests_of_the_page(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("\n\n".join(blocks("pytest.md", "python")))
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_command_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("b\na\n")
    (block,) = blocks("explore.md", "console")
    command, _, output = block.removeprefix("$ ").partition("\n")
    words = shlex.split(command)
    assert words[0] == "lsca"
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1, done.stderr
    assert output.strip() in done.stdout
