# SPDX-License-Identifier: Apache-2.0
"""Runs every example of docs/log.md and docs/sql.md on a log that is made here: none fails, and each has something to
show.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reading_logs import Lsca

pytest.importorskip("duckdb")

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
MAKES_THE_LOG = "lsca run -o build.lsca -- sh build.sh"


def blocks(page: str, kind: str) -> list[str]:
    return [text for name, text in BLOCK.findall((DOCS / page).read_text()) if name == kind]


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line[2:] for line in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample: str) -> Path:
    """A directory with the log, and a shell's way to `lsca`."""
    where = tmp_path_factory.mktemp("docs")
    tools = where / "bin"
    tools.mkdir()
    script = tools / "lsca"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m lsca "$@"\n')
    script.chmod(0o755)
    (where / "input.txt").write_text("input\n" * 100)
    shutil.copy(Path(__file__).with_name("build.sh"), where)
    done = shell(where, MAKES_THE_LOG, SAMPLE=sample)
    assert done.returncode == 0, done.stderr
    return where


def shell(where: Path, command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    path = f"{where / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=where,
        env={**os.environ, "PATH": path, "PYTHONIOENCODING": "utf-8", **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "command", [c for page in ("log.md", "sql.md") for c in commands(page) if c != MAKES_THE_LOG]
)
def test_a_command(place: Path, command: str) -> None:
    if "jq" in command and not shutil.which("jq"):
        pytest.skip("needs jq")
    done = shell(place, command)
    assert (done.returncode, done.stderr) == (0, "")
    written = re.search(r" -o (\S+)", command)
    if written:
        assert (place / written[1]).stat().st_size
    else:
        assert done.stdout.count("\n") > 1 or "jq" in command or "--verify" in command


@pytest.mark.parametrize("query", blocks("sql.md", "sql"))
def test_a_recipe(place: Path, lsca: Lsca, query: str) -> None:
    done = lsca("sql", "build.lsca", "--json", query, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{")


def test_the_columns_of_the_page_are_the_tables_(place: Path, lsca: Lsca) -> None:
    page = (DOCS / "sql.md").read_text()
    schema = lsca("sql", "build.lsca", ".schema", cwd=place).stdout
    for line in schema.splitlines():
        columns = line.partition("(")[2].rpartition(")")[0]
        for column in columns.split(", "):
            name = column.split()[0].strip('"')
            assert f"`{name}`" in page or re.fullmatch(r"arg[1-4]", name), name
