# SPDX-License-Identifier: Apache-2.0
"""Runs what docs/network.md and docs/policy.md show: their commands, their Python, their policy."""

import functools
import http.server
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential import ROOT
from differential import lsca as command
from lsca.services.policy import Policy

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def commands(page: str) -> list[tuple[str, str]]:
    """Each command of a page, and what it says that it writes."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output.rstrip("\n")))
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *words: object) -> None:
        pass


ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(bytes(48), (sys.argv[1], 123))
print(len(s.recv(100)), "bytes")
"""
LOST = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 8000))
s.settimeout(0.1)
s.send(b"hello")
try:
    s.recv(100)
except OSError as error:
    print(error)
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """The server of docs/network.md, at a port that is free."""
    (tmp_path / "hello.txt").write_text("hello\n")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield str(server.server_port)
    server.shutdown()
    server.server_close()


def run(line: str, place: Path) -> str:
    words = shlex.split(line)
    assert words[0] == "lsca"
    more = ["--no-daemon"] if words[1] == "run" else []
    done = subprocess.run(
        [*command(), words[1], *more, *words[2:]],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        timeout=60,
    )
    assert done.returncode != 125, done.stderr
    return done.stdout + done.stderr


def test_network(tmp_path: Path, port: str) -> None:
    for number, name in enumerate(("shop.py", "clock.py")):
        (tmp_path / name).write_text(blocks("network.md", "python")[number])
    (tmp_path / "ask.py").write_text(ASK)
    (tmp_path / "lost.py").write_text(LOST)
    for line, output in commands("network.md"):
        if line.startswith("lsca"):
            said = run(line.replace(":8000", f":{port}"), tmp_path)
            assert output in said, (line, said)


def test_the_test_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(blocks("network.md", "python")[2])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_policy(tmp_path: Path) -> None:
    for line, output in commands("policy.md"):
        said = run(line, tmp_path)
        assert output in said, (line, said)
    Path("/tmp/now").unlink(missing_ok=True)


def test_the_policy_of_the_page(tmp_path: Path) -> None:
    (text,) = blocks("policy.md", "toml")
    assert Policy(text=text).rules()
    (tmp_path / "p.toml").write_text(text)
    assert "Permission denied" in run("lsca run --policy p.toml cat /etc/shadow", tmp_path)
