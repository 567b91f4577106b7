# SPDX-License-Identifier: Apache-2.0
"""What programs exchange with servers is recorded, and played again when the servers are gone: curl, git, Python."""

import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from networking import run, serving

import lsca
from lsca.services.network import Net, Stream


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server for a directory."""
    place = tmp_path / "web"
    place.mkdir()
    (place / "index.txt").write_text("a page\n")
    (place / "bytes").write_bytes(bytes(range(256)) * 1000)
    handler = functools.partial(Quiet, directory=str(place))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", place
    finally:
        server.shutdown()
        server.server_close()


def test_curl(web: tuple[str, Path], tmp_path: Path) -> None:
    tape = str(tmp_path / "t")
    address = f"http://{web[0]}"
    argv = [
        "curl",
        "-s",
        f"{address}/index.txt",
        f"{address}/bytes",
        "-o",
        "-",
        "-o",
        str(tmp_path / "b"),
    ]
    first = run("--tape", tape, *argv)
    assert first.stderr == "" and "a page\n" in first.stdout
    lines = [json.loads(line) for line in Path(tape).read_text().splitlines()]
    assert lines[0] == {"tape": 1}
    assert lines[1]["to"] == web[0]
    assert lines[2]["sent"].startswith("GET /index.txt HTTP/1.1\r\n")
    (tmp_path / "b").unlink()
    (web[1] / "index.txt").write_text("changed")  # a server that is asked would say so
    again = run("--replay", tape, *argv)
    assert (again.stdout, again.stderr, again.returncode) == (first.stdout, "", 0)
    assert (tmp_path / "b").read_bytes() == bytes(range(256)) * 1000


def test_git_over_http(web: tuple[str, Path], tmp_path: Path) -> None:
    repo, bare = tmp_path / "repo", web[1] / "r.git"
    setting = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]

    def git(*words: str) -> None:
        subprocess.run(["git", *setting, *words], check=True, capture_output=True)

    git("init", str(repo))
    (repo / "file").write_text("content\n")
    git("-C", str(repo), "add", ".")
    git("-C", str(repo), "commit", "-m", "one")
    git("clone", "--bare", str(repo), str(bare))
    git("-C", str(bare), "update-server-info")
    tape = str(tmp_path / "t")
    url = f"http://{web[0]}/r.git"
    done = run("--tape", tape, "git", "clone", "-q", url, str(tmp_path / "one"))
    assert (done.returncode, done.stderr) == (0, "")
    (bare / "HEAD").unlink()
    done = run("--replay", tape, "git", "clone", "-q", url, str(tmp_path / "two"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "two" / "file").read_text() == "content\n"


def test_names_are_on_the_tape(web: tuple[str, Path], tmp_path: Path) -> None:
    tape = str(tmp_path / "t")
    port = web[0].rpartition(":")[2]
    argv = [
        "python3",
        "-c",
        f"import urllib.request as u; print(u.urlopen('http://a.test:{port}/index.txt').read())",
    ]
    first = run("--tape", tape, "--resolve", "a.test=127.0.0.1", *argv)
    assert first.stdout == "b'a page\\n'\n"
    again = run("--replay", tape, *argv)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert '"name": "a.test"' in Path(tape).read_text()


def test_answers_of_a_function_can_be_recorded(net: str, tmp_path: Path) -> None:
    tape = tmp_path / "t"

    def web(stream: Stream) -> None:
        stream.sendall(b"HTTP/1.0 200 OK\r\n\r\nmade up\n")

    argv = ["curl", "-s", "http://shop.test/"]
    for options in ({"tape": tape, "reroute": {"shop.test:80": web}}, {"replay": tape}):
        with Net(**options) as one:  # type: ignore[arg-type]
            done = lsca.run(argv, handlers=[one], capture_output=True, text=True)
        assert (done.stdout, done.reports, one.problems) == ("made up\n", [], [])


def test_what_is_not_on_the_tape_fails_with_words(net: str, echo: str, tmp_path: Path) -> None:
    tape = tmp_path / "t"
    host, port = echo.split(":")
    assert run("--tape", str(tape), net, "connect", host, port).returncode == 0
    done = run("--replay", str(tape), net, "connect", "127.0.0.1", "1")
    assert done.stdout == "connect: Connection refused\n"
    assert (
        f"connects to 127.0.0.1:1, and this connection is not on the tape; left on it: {echo}"
        in done.stderr
    )
    assert f"connection 1 to {echo}: not made this time" in done.stderr
    twice = f"{net} connect {host} {port}; {net} connect {host} {port}"
    done = run("--replay", str(tape), "sh", "-c", twice)
    assert "of which all has been played" in done.stderr
    tape.write_text(tape.read_text().replace("hello", "hullo", 1))
    done = run("--replay", str(tape), net, "connect", host, port)
    assert "at byte 1 the program sends b'hello\\n', where the tape has b'hullo\\n'" in done.stderr
    assert done.returncode == 1


def test_failures_and_unusual_ends_are_on_the_tape(net: str, tmp_path: Path) -> None:
    tape = str(tmp_path / "t")
    first = run("--tape", tape, net, "connect", "127.0.0.1", "1")
    assert first.stdout == "connect: Connection refused\n"
    again = run("--replay", tape, net, "connect", "127.0.0.1", "1")
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_a_server_that_speaks_first(tmp_path: Path) -> None:
    def banner(stream: object) -> None:
        stream.sendall(b"220 ready\r\n")  # type: ignore[attr-defined]
        stream.recv(100)  # type: ignore[attr-defined]
        stream.sendall(b"221 bye\r\n")  # type: ignore[attr-defined]

    tape = str(tmp_path / "t")
    text = """
import socket, sys
host, port = sys.argv[1].split(":")
s = socket.create_connection((host, int(port)))
f = s.makefile("rw", newline="")
print(f.readline()); f.write("QUIT\\r\\n"); f.flush(); print(f.readline())
"""
    with serving(banner) as address:
        first = run("--tape", tape, "python3", "-c", text, address)
    again = run("--replay", tape, "python3", "-c", text, address)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert "221 bye" in first.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an empty file"),
        ("x\n", ":1: no line of a tape"),
        ('{"tape": 9}\n', "version 9"),
        ('{"tape": 1}\n{"connection": 1, "sent": "a"}\n', ":2: no line of a tape"),
        ('{"tape": 1}\n{"connection": 1, "to": "a:1"}\n{"connection": 1, "sent64": "?"}\n', ":3:"),
    ],
)
def test_tapes_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    tape = tmp_path / "t"
    tape.write_text(text)
    done = run("--replay", str(tape), "true")
    assert done.returncode == 125
    assert says in done.stderr and "Traceback" not in done.stderr
