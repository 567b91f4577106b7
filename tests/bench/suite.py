# SPDX-License-Identifier: Apache-2.0
"""What the pytest fixture costs a suite: `python tests/bench/suite.py [ROUNDS [REPEATS]]`, medians in seconds.

The same tests of git, gcc, make-like shell scripts and Python programs run without the fixture and, all of them, with
it, turn by turn; each run of pytest says how long its tests took, its own start apart.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONFTEST = """
import os, time
import pytest

@pytest.fixture(autouse=True)
def _perhaps(request):
    if os.environ["CAUGHT"] == "1":
        request.getfixturevalue("lsca")

def pytest_sessionstart(session):
    session.began = time.monotonic()

def pytest_sessionfinish(session):
    print(f"\\nTOOK {time.monotonic() - session.began:.6f}")
"""

TESTS = """
import shutil, subprocess, sys
import pytest

REPEATS = range(%d)
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def run(*argv, **options):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **options).stdout


@pytest.mark.parametrize("n", REPEATS)
@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git(n, tmp_path):
    run("git", "init", "-q", tmp_path)
    for name in "abc":
        (tmp_path / name).write_text(name * 1000)
        run(*GIT, "add", name, cwd=tmp_path)
        run(*GIT, "commit", "-qm", name, cwd=tmp_path)
    assert len(run("git", "log", "--oneline", cwd=tmp_path).splitlines()) == 3
    run("git", "clone", "-q", tmp_path, tmp_path / "copy")
    assert run("git", "-C", tmp_path / "copy", "status", "--short") == ""


@pytest.mark.parametrize("n", REPEATS)
@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_compiler(n, tmp_path):
    (tmp_path / "a.c").write_text('#include <stdio.h>\\nint main(void) { puts("hello"); return 0; }\\n')
    run("gcc", "-O2", "-o", tmp_path / "a", tmp_path / "a.c")
    assert run(tmp_path / "a") == "hello\\n"


@pytest.mark.parametrize("n", REPEATS)
def test_python_programs(n, tmp_path):
    (tmp_path / "p.py").write_text("import json, argparse, email.message\\nprint(json.dumps(list(range(1000))))\\n")
    assert run(sys.executable, tmp_path / "p.py").startswith("[0")
    run(sys.executable, "-m", "compileall", "-q", tmp_path)
    run(sys.executable, "-m", "zipfile", "-c", tmp_path / "z.zip", tmp_path / "p.py")


@pytest.mark.parametrize("n", REPEATS)
def test_shell(n, tmp_path):
    script = "seq 1 20000 | sort -R | sort -n | sha256sum > a; tar czf t.tgz a; mkdir x; tar xzf t.tgz -C x; cmp a x/a"
    run("sh", "-c", script, cwd=tmp_path)
"""


def once(place: Path, caught: bool) -> float:
    """Seconds that the tests took."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(place)]
    environment = os.environ | {"CAUGHT": str(int(caught))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who imports would compile, each time
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True)
    found = re.search(r"^TOOK ([\d.]+)$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        sys.exit(f"the suite failed:\n{done.stdout}{done.stderr}")
    return float(found[1])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "conftest.py").write_text(CONFTEST)
        (place / "test_suite.py").write_text(TESTS % repeats)
        once(place, caught=True)  # warm
        native, caught = [], []
        for number in range(rounds):
            for with_it in (False, True) if number % 2 else (True, False):
                (caught if with_it else native).append(once(place, with_it))
    ratios = [one / other for one, other in zip(caught, native, strict=True)]
    print(f"native   {statistics.median(native):8.3f} s")
    print(f"caught   {statistics.median(caught):8.3f} s")
    print(f"ratio    {statistics.median(ratios):8.3f}")
    print(f"at best  {min(caught) / min(native):8.3f}")


if __name__ == "__main__":
    main()
