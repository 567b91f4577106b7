# SPDX-License-Identifier: Apache-2.0
"""The demo, made small: its own echo pair and another one, natively and in both routes, compared by the demo itself.

It also proves that the demo cannot be content with nothing: what fails is told, and the status is 1.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "demo.py"
CASES = [
    f"{kind}, {count}" for kind in ("tcp", "udp", "unix") for count in ("1 client", "5 clients")
]


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), "--messages", "40", "--clients", "1,5", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def result_lines(report: str) -> list[list[str]]:
    """The lines of both tables, as words."""
    lines = [line.split() for line in report.splitlines()]
    return [line for line in lines if line and line[0] in ("tcp", "udp", "unix")]


def test_natively() -> None:
    done = run_demo("--routes", "", "--other", "python")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(result_lines(done.stdout)) == 2 * len(CASES)
    assert "came back unchanged" in done.stdout


@pytest.mark.parametrize("route", ["kernel", "proxy"])
def test_route(route: str) -> None:
    done = run_demo("--routes", route)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = result_lines(done.stdout)
    assert len(lines) == 2 * len(CASES)
    assert all(line.count("same") == 1 for line in lines), done.stdout
    assert f"Who executed the calls, route {route}" in done.stdout
    whose = "the proxy" if route == "proxy" else "the program itself"
    assert f", {whose}\n" in done.stdout, "the listening socket is held by the wrong process"
    assert f"[{route}]" in done.stdout, "no log lines in the report"


def test_without_lsca_it_fails() -> None:
    done = run_demo("--lsca", "/does/not/exist")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "/does/not/exist" in done.stdout
    assert done.stderr == ""


def test_a_difference_is_told(tmp_path: Path) -> None:
    """A stand-in for lsca that runs the program but lets one byte of the client's output be another."""
    fake = tmp_path / "lsca"
    fake.write_text(
        "#!/bin/bash\n"
        'if [ "$1" = daemon ]; then\n'
        '  case "$*" in *--status*) echo '{\"sessions\": []}'; exit;; esac\n'
        f'  exec {sys.executable} -c "import signal, socket, sys; '
        'socket.socket(socket.AF_UNIX).bind(sys.argv[1]); signal.pause()" '
        '"${@: -1}"\n'
        "fi\n"
        'while [ "$1" != -- ]; do shift; done; shift\n'
        'case "$1" in *echo_client) "$@" | sed -u s,g,G,;; *) exec "$@";; esac\n'
    )
    fake.chmod(0o755)
    done = run_demo("--lsca", os.fspath(fake), "--routes", "kernel", "--transports", "tcp")
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout
    assert "the client's output differs" in done.stdout
