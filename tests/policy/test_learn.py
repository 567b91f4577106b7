# SPDX-License-Identifier: Apache-2.0
"""A policy that was learned from a run allows that run, and not much else."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from differential import lsca as command
from lsca.services.policy import Policy
from lsca.services.policy.learning import _quoted, addresses, general, patterns


def lsca(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(), *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=100,
        env=os.environ | {"LC_ALL": "C"},
    )


PROGRAM = "cat /etc/hostname; echo x > out; mktemp >/dev/null; id -u; rm out"


def test_the_run_that_was_learned_is_allowed(tmp_path: Path) -> None:
    learned = lsca("learn", "-o", "p.toml", "--", "sh", "-c", PROGRAM, cwd=tmp_path)
    assert learned.returncode == 0
    assert learned.stderr.startswith("lsca: p.toml: written from ")
    said = tomllib.loads((tmp_path / "p.toml").read_text())
    assert "/etc/hostname" in said["files"]["read"]
    assert {"/tmp/**"} <= set(said["files"]["write"])
    assert set(said["processes"]["allow"]) >= {"/usr/bin/cat", "/usr/bin/id"}
    again = lsca("run", "--no-daemon", "--policy", "p.toml", "sh", "-c", PROGRAM, cwd=tmp_path)
    assert (again.stdout, again.stderr) == (learned.stdout, "")
    checked = lsca("learn", "--check", "p.toml", "--", "sh", "-c", PROGRAM, cwd=tmp_path)
    assert checked.returncode == 0
    assert "p.toml would deny nothing of this" in checked.stderr


def test_check_says_what_would_be_denied_and_denies_nothing(tmp_path: Path) -> None:
    lsca("learn", "-o", "p.toml", "--", "sh", "-c", "cat /etc/hostname", cwd=tmp_path)
    done = lsca("learn", "--check", "p.toml", "sh", "-c", "cat /etc/passwd; id", cwd=tmp_path)
    assert done.returncode == 1
    assert "root:" in done.stdout and "uid=" in done.stdout
    assert "lsca: would be denied: read /etc/passwd" in done.stderr
    assert "lsca: would be denied: exec /usr/bin/id" in done.stderr


def test_from_several_logs(tmp_path: Path) -> None:
    for name, text in (("a", "cat /etc/hostname"), ("b", "cat /etc/passwd")):
        lsca("run", "-o", f"{name}.lsca", "--", "sh", "-c", text, cwd=tmp_path)
    done = lsca("learn", "--log", "a.lsca", "--log", "b.lsca", cwd=tmp_path)
    assert {"/etc/hostname", "/etc/passwd"} <= set(tomllib.loads(done.stdout)["files"]["read"])


def test_the_network_is_learned(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        done = lsca("learn", "python3", "-c", text)
    found = tomllib.loads(done.stdout)["network"]["allow"]
    assert f"127.0.0.1:{port if port < 32768 else '*'}" in found


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/tmp/abc/d", "/tmp/**"),
        ("/home/u/.config/git/config", "~/.config/git/config"),
        ("/proc/4711/task/4712/stat", "/proc/*/task/*/stat"),
        ("/opt/lib/libfoo.so.6.0.30", "/opt/lib/libfoo.so.*"),
        ("/opt/python3.11/x.py", "/opt/python*/x.py"),
        ("/opt/cache/0123456789abcdef/x", "/opt/cache/*/x"),
        ("/opt/what*is", "/opt/what\\*is"),
        ("/etc/hostname", "/etc/hostname"),
    ],
)
def test_paths_are_generalised(path: str, pattern: str) -> None:
    assert general(path, "/home/u") == pattern


def test_many_files_are_a_directory() -> None:
    assert patterns([f"/srv/data/{name}" for name in "abcdefg"]) == ["/srv/data/*"]
    assert patterns(["/usr/lib/x/a.so", "/usr/lib/b"]) == ["/usr/lib/**"]
    assert addresses(["10.0.0.1:443", "10.0.0.1:50000", "/tmp/x"]) == [
        "/tmp/**",
        "10.0.0.1:*",
        "10.0.0.1:443",
    ]


@pytest.mark.parametrize("text", ["plain", 'a"b', "a\\*b", "a'\\b", "ä\n\x01", "caf\udce9"])
def test_what_is_written_can_be_read(text: str) -> None:
    said = tomllib.loads(f"x = [{_quoted(text)}]")["x"][0]
    assert said == text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "\udce9" not in text:
        Policy(text=f"[files]\nread = [{_quoted('/' + text)}]\n")


def test_mistakes(tmp_path: Path) -> None:
    for words, says in (
        (["learn"], "no program is named"),
        (["learn", "--check", "p"], "--check wants a program"),
        (["learn", "-o", "/nowhere/p", "true"], "/nowhere/p cannot be written"),
        (["learn", "--check", "/nowhere/p", "true"], "the policy /nowhere/p cannot be read"),
        (["policy"], "no policy is named"),
    ):
        done = lsca(*words)
        assert done.returncode == 125
        assert says in done.stderr and "Traceback" not in done.stderr
