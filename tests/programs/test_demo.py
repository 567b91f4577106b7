# SPDX-License-Identifier: Apache-2.0
"""The demo, made small: its own echo pair and another one, natively, in both routes and over streams, compared by the
demo itself.

It also proves that the demo cannot be content with nothing: what fails is told, and the status is 1.
"""

import os
import re
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


@pytest.mark.parametrize("route", ["kernel", "proxy", "streams"])
def test_route(route: str) -> None:
    done = run_demo("--routes", route)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = result_lines(done.stdout)
    assert len(lines) == 2 * len(CASES) - 1  # socat's server of UDP has one client
    assert all(line.count("same") == 1 for line in lines), done.stdout
    assert f"Who executed the calls, route {route}" in done.stdout
    whose = "the proxy" if route == "proxy" else "the program itself"
    assert f", {whose}\n" in done.stdout, "the listening socket is held by the wrong process"
    by = {"kernel": "kernel", "proxy": "proxy", "streams": "kernel"}
    assert f"[{by[route]}]" in done.stdout, "no log lines in the report"
    if route == "streams":
        counts = re.findall(r"(\d+) connections have joined by it", done.stdout)
        assert len(counts) == 2 and any(int(count) for count in counts), done.stdout


def test_without_lsca_it_fails() -> None:
    done = run_demo("--lsca", "/does/not/exist")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "/does/not/exist" in done.stdout
    assert done.stderr == ""


FAKE = """#!{python}
import json, os, signal, socket, subprocess, sys
if sys.argv[1] == "daemon" and "--status" in sys.argv:
    print(json.dumps({{"sessions": []}}))
elif sys.argv[1] == "daemon":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[-1])
    listener.listen()
    signal.pause()
else:
    program = sys.argv[sys.argv.index("--") + 1 :]
    if "echo_client" not in program[0]:
        os.execvp(program[0], program)
    client = subprocess.Popen(program, stdout=subprocess.PIPE)
    for line in client.stdout:
        os.write(1, line.replace(b"g", b"G"))
    sys.exit(client.wait())
"""


def test_a_difference_is_told(tmp_path: Path) -> None:
    """With a stand-in for lsca that changes what the client prints."""
    fake = tmp_path / "lsca"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    options = ["--routes", "kernel", "--transports", "tcp", "--other", "python"]
    done = run_demo("--lsca", os.fspath(fake), *options)
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout
    assert "the client's output differs" in done.stdout
