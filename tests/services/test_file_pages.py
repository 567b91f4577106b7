# SPDX-License-Identifier: Apache-2.0
"""Runs what docs/files.md and docs/time.md show, one command after the other, in one directory for each page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from differential import ROOT

PAGES = ("files.md", "time.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S
    )


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str, tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text("colour = blue\n")
    for directory in ("samples", "project", "bin"):
        (tmp_path / directory).mkdir()
    (tmp_path / "samples" / "one.csv").touch()
    (tmp_path / "project" / "settings.ini").write_text("colour = blue\n")
    (tmp_path / "project" / "old").touch()
    (tmp_path / "bin" / "lsca").write_text(f'#!/bin/sh\nexec {sys.executable} -m lsca "$@"\n')
    (tmp_path / "bin" / "lsca").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "LC_ALL": "C",
    }
    commands = 0
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            done = subprocess.run(
                ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode in (0, 1) and "lsca:" not in done.stderr, (command, done.stderr)
            assert output in done.stdout, command
            commands += 1
    assert commands > 4


@pytest.mark.parametrize("page", PAGES)
def test_python(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "python"):
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
