# SPDX-License-Identifier: Apache-2.0
"""Follows docs/tutorial.md from its beginning to its end: its files, its commands, and the output that it promises.

In what is promised, "..." stands for anything.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from differential import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(\w+\.py)`")


def test_the_tutorial(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("lsca", "pytest"):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        path.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "LC_ALL": "C",
    }
    place = tmp_path / "place"
    place.mkdir()
    before, ran = 0, 0
    for block in BLOCK.finditer(text):
        kind, inner = block.groups()
        told, before = text[before : block.start()], block.end()
        if kind == "python":
            (place / FILE.findall(told)[-1]).write_text(inner)
            continue
        for part in re.split(r"^\$ ", inner, flags=re.MULTILINE)[1:]:
            command, _, promised = part.partition("\n")
            done = subprocess.run(
                command,
                shell=True,
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=100,
            )
            ran += 1
            for line in promised.splitlines():
                pattern = ".*".join(map(re.escape, line.split("...")))
                wanted = re.compile(f"^{pattern}$", re.MULTILINE)
                assert wanted.search(done.stdout), (command, line, done.stdout)
    assert ran == text.count("\n$ ")
