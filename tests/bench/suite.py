# SPDX-License-Identifier: Apache-2.0
"""What the pytest fixture costs a suite: `python tests/bench/suite.py [ROUNDS [REPEATS]]`, medians in seconds.

The same tests of git, gcc, make-like shell scripts and Python programs run without the fixture and, all of them, with
it, turn by turn; each run of pytest says how long its tests took, its own start apart. With `--real` they are somebody
else's: those of setuptools-scm that are about git, which pip fetches. Everything is in /dev/shm, if that is there: what
git writes to a disk takes as long as the disk likes.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PLUGIN = """
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


REAL = "setuptools-scm==8.1.0"
NEEDS = ("packaging", "setuptools", "typing_extensions", "build", "pyproject_hooks")
MEMORY = "/dev/shm"


def once(place: Path, tests: str, caught: bool) -> float:
    """Seconds that the tests took."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "perhaps",
    ]
    environment = os.environ | {
        "CAUGHT": str(int(caught)),
        "PYTHONPATH": str(place),
        "TMPDIR": str(place),
        "PYTEST_DEBUG_TEMPROOT": str(place),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who imports would compile, each time
    file = place / tests
    done = subprocess.run(
        [*command, file.name], env=environment, cwd=file.parent, capture_output=True, text=True
    )
    found = re.search(r"^TOOK ([\d.]+)$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        sys.exit(f"the suite failed:\n{done.stdout}{done.stderr}")
    return float(found[1])


def fetch(place: Path) -> str:
    """The real tests, and what they need."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place), REAL, *NEEDS], check=True)
    subprocess.run(
        [*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", str(place), REAL], check=True
    )
    archive = next(place.glob("setuptools*.tar.gz"))
    subprocess.run(["tar", "xzf", str(archive), "-C", str(place)], check=True)
    return str(next(place.glob("setuptools*/testing/test_git.py")).relative_to(place))


def main() -> None:
    parser = argparse.ArgumentParser(description="What the pytest fixture costs a suite.")
    parser.add_argument("rounds", type=int, nargs="?", default=9)
    parser.add_argument("repeats", type=int, nargs="?", default=3)
    parser.add_argument("--real", action="store_true", help="the tests of setuptools-scm about git")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as name:
        place = Path(name)
        (place / "perhaps.py").write_text(PLUGIN)
        if options.real:
            tests = fetch(place)
        else:
            tests = "test_suite.py"
            (place / tests).write_text(TESTS % options.repeats)
        once(place, tests, caught=True)  # warm
        native, caught = [], []
        for number in range(options.rounds):
            for with_it in (False, True) if number % 2 else (True, False):
                (caught if with_it else native).append(once(place, tests, with_it))
    ratios = [one / other for one, other in zip(caught, native, strict=True)]
    print(f"native   {statistics.median(native):8.3f} s")
    print(f"caught   {statistics.median(caught):8.3f} s")
    print(f"ratio    {statistics.median(ratios):8.3f}")
    print(f"at best  {min(caught) / min(native):8.3f}")


if __name__ == "__main__":
    main()
