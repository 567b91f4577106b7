# SPDX-License-Identifier: Apache-2.0
"""Proves that strace's classes contain the calls that strace itself selects by them.

A program makes every call under `strace -e trace=%CLASS`; a filter keeps them from having an effect.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lsca.table import by_name, class_names, classes_of, in_class, rows

CLASSES = [
    "file",
    "process",
    "network",
    "signal",
    "ipc",
    "desc",
    "memory",
    "creds",
    "stat",
    "lstat",
    "fstat",
    "%stat",
    "statfs",
    "fstatfs",
    "%statfs",
    "clock",
    "pure",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not shutil.which("strace") or platform.machine() != "x86_64":
        pytest.skip("gcc and strace on x86-64 are needed")
    path = tmp_path_factory.mktemp("classes") / "everycall"
    source = Path(__file__).with_name("everycall.c")
    flags = ["-static", "-nostdlib", "-O1", "-fno-stack-protector"]
    subprocess.run([compiler, *flags, "-o", path, source], check=True)
    return path


def selected(program: Path, expression: str) -> set[str]:
    """The names that strace prints."""
    trace = program.with_name("trace")
    subprocess.run(
        ["strace", "-o", trace, "-e", f"trace={expression}", program],
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    names = set(re.findall(r"^(\w+)\(", trace.read_text(), re.M))
    return {name for name in names if not name.startswith("syscall_")}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_strace_s(program: Path, name: str) -> None:
    known = selected(program, "all")
    ours = {call for call in in_class(name) or () if call in known}
    assert ours == selected(program, f"%{name}")


def test_every_class_and_family_has_a_name() -> None:
    assert set(CLASSES) | {"files", "sockets", "net"} <= set(class_names())
    assert all(in_class(name) for name in class_names())
    assert in_class("nonsense") is None
    assert in_class("net") == in_class("network")


def test_calls_that_strace_does_not_know_yet_are_sorted_by_what_they_take() -> None:
    fchmodat2 = by_name("fchmodat2")
    assert fchmodat2 and classes_of(fchmodat2) == {"file", "desc"}
    assert all(classes_of(row) <= set(class_names()) for row in rows())
