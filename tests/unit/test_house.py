# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a machine can check: floors, licence lines, lengths, public names, a freestanding agent.

CONTRIBUTING.md explains each of them. Only files that git knows or would add are looked at.
"""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import freestanding

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lsca"
# Lowest first. A file imports only from floors below its own, or from its own package.
FLOORS = (
    ("live", "errors", "_native", "_log"),
    ("table",),
    ("codegen", "calls", "log", "attached", "rules"),
    ("handlers", "daemon"),
    ("session",),
    ("launch",),
    ("joining",),
    ("running", "hosting"),
    ("services", "tui", "plot", "asking"),
    ("testing", "exploring"),
    ("cli", "pytest_plugin"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
CODE = (".py", ".c", ".h", ".S")
LONG_MARK = "Longer than 500 lines because"


def files(*suffixes: str) -> list[Path]:
    """The repository's files with one of these suffixes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:  # an unpacked source archive
        names = [path for path in ROOT.rglob("*") if not set(path.parts) & {".venv", "build"}]
    else:
        names = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return sorted(path for path in names if path.suffix in suffixes and path.is_file())


def modules_of(tree: ast.AST) -> set[str]:
    """The parts of lsca that a syntax tree imports: the name after `lsca.`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside lsca are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in found)
    inner = {part[1] for part in parts if part[0] == "lsca" and len(part) > 1}
    return inner - {"__version__"}


def own_name(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_floors(path: Path) -> None:
    name = own_name(path)
    if name in ("__init__", "__main__"):
        return  # the roof: may import from everywhere
    assert name in FLOOR, f"give {name} a floor: FLOORS in this file and docs/design.md"
    for other in modules_of(ast.parse(path.read_text())) - {name}:
        assert other in FLOOR, f"{path} imports from {other}, which has no floor"
        assert FLOOR[other] < FLOOR[name], f"{name} may not import from {other}"


def test_licence_lines() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in files(*CODE)
        if "SPDX-License-Identifier: Apache-2.0" not in path.read_text()[:200]
    ]
    assert not missing


def test_every_python_file_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(".py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_file_lengths() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {len(lines)} lines"
        for path in files(*CODE)
        if len(lines := path.read_text().splitlines()) > 500
        and LONG_MARK not in " ".join(" ".join(lines[:30]).split())
    ]
    assert not long, f"split them, or say '{LONG_MARK} ...' in the head comment"


def test_c_layout() -> None:
    wrong = []
    for path in files(".c", ".h", ".S"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}"
            if len(line.expandtabs(8)) > 120:
                wrong.append(f"{where}: longer than 120 columns")
            if line != line.rstrip():
                wrong.append(f"{where}: space at its end")
            if line.startswith("        "):
                wrong.append(f"{where}: indented with spaces")
            if path.suffix != ".S" and line.startswith("typedef struct"):
                wrong.append(f"{where}: a struct hidden behind a typedef")
    assert not wrong


def test_machines_are_folders() -> None:
    """Machine-specific code stands under arch/, or in a file named for its machine."""
    names = ("__x86_64__", "__aarch64__", "__amd64__", "__ARM_ARCH")
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(".c", ".h")
        if path.is_relative_to(ROOT / "native") and "arch" not in path.parts
        for name in names
        if name in path.read_text()
    ]
    assert not wrong


def test_agent_proxy_and_daemon_include_nothing_of_each_other() -> None:
    wrong = []
    for folder in ("agent", "proxy", "daemon"):
        others = {"agent", "proxy", "daemon"} - {folder}
        for path in files(".c", ".h", ".S"):
            if not path.is_relative_to(ROOT / "native" / folder):
                continue
            for line in path.read_text().splitlines():
                if line.startswith("#include") and any(f"{other}/" in line for other in others):
                    wrong.append(f"{path.relative_to(ROOT)}: {line}")
    assert not wrong


def test_python_h_has_few_readers() -> None:
    readers = {
        p.relative_to(ROOT / "native")
        for p in files(".c", ".h")
        if "#include <Python.h>" in p.read_text()
    }
    assert readers <= {Path("daemon/binding.h"), Path("log/module.c")}
    users = {p.name for p in files(".c", ".h") if '#include "binding.h"' in p.read_text()}
    assert users <= {"module.c", "posted.c", "request.c", "served.c", "started.c"}


def test_agent_is_freestanding() -> None:
    agent = PACKAGE / "lib" / "lsca-agent.so"
    assert agent.exists(), "run `make native`"
    assert freestanding.problems(agent) == []


@pytest.mark.parametrize("name", ["lsca", "lsca.log", "lsca.table"])
def test_public_names(name: str) -> None:
    """A public module says what is public, and all of it is there. Its order is ruff's business (RUF022)."""
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__) > 0
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize(
    "name",
    [
        *("lsca", "lsca.cli", "lsca.cli.run", "lsca.cli.handled", "lsca.running"),
        *("lsca.services.files", "lsca.services.overlay", "lsca.services.time"),
    ],
)
def test_no_third_party_import(name: str) -> None:
    program = f"import json, sys, {name}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert loaded - sys.stdlib_module_names - {"__main__", "lsca"} == set()
