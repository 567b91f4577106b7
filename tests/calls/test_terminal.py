# SPDX-License-Identifier: Apache-2.0
"""Programs at a terminal: window size, raw mode, Ctrl-C, Ctrl-D, and a shell with job control."""

import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from differential import Session, program

PROMPT = b"ready> "
SETTLED = 0.3  # a signal must not come between "ready" and the read that it is to interrupt


def typed_to(path: str, route: str, tmp_path: Path) -> tuple[int, bytes]:
    """The transcript of a person who answers each "ready for"."""
    session = Session([path], route=route, cwd=tmp_path)
    try:
        session.expect(b"ready for a line\r\n")
        session.send(b"hello\n")
        session.expect(b"ready for a key\r\n")
        session.send(b"\x03")
        session.expect(b"ready for Ctrl-C\r\n")
        time.sleep(SETTLED)
        session.send(b"\x03")
        session.expect(b"ready for another size\r\n")
        time.sleep(SETTLED)
        session.resize(50, 132)
        session.expect(b"ready for Ctrl-D\r\n")
        session.send(b"\x04")
        session.expect(b"ready to die\r\n")
        session.send(b"\x03")
        return session.finish(), session.transcript
    finally:
        session.close()


def test_program(route: str, tmp_path: Path) -> None:
    path = program("calls/terminal.c")
    status, transcript = typed_to(path, "native", tmp_path)
    assert status == -signal.SIGINT
    assert b"isatty: 1 1 1" in transcript
    assert b"size: 50 x 132" in transcript
    assert typed_to(path, route, tmp_path) == (status, transcript)


class Shell(Session):
    """An interactive bash with job control."""

    def do(self, line: bytes) -> str:
        """Types a line and returns what was shown until the next prompt, without pids."""
        self.send(line + b"\n")
        self.expect(line + b"\r\n")
        shown = self.expect(PROMPT).decode().removesuffix(PROMPT.decode())
        return re.sub(r"\d{3,}", "PID", shown.replace("\r", ""))


def jobs(route: str, tmp_path: Path) -> list[str]:
    shell = Shell(
        ["bash", "--norc", "--noprofile", "--noediting", "-i"],
        route=route,
        cwd=tmp_path,
        env={"PS1": PROMPT.decode(), "HISTFILE": "/dev/null"},
    )
    shown: list[str] = []
    try:
        shell.expect(PROMPT)
        shown.append(shell.do(b"tty -s; echo $?"))
        shell.send(b"sleep 50\n")
        shell.expect(b"sleep 50\r\n")
        wait_for_foreground(shell, "sleep")
        shell.send(b"\x1a")
        shown.append(shell.expect(PROMPT).decode())
        shown.append(shell.do(b"jobs"))
        shown.append(shell.do(b"bg"))
        shown.append(shell.do(b"jobs -r"))
        shell.send(b"fg\n")
        shell.expect(b"fg\r\n")
        wait_for_foreground(shell, "sleep")
        shell.send(b"\x03")
        shown.append(shell.expect(PROMPT).decode())
        shown.append(shell.do(b"echo $?"))
        shown.append(shell.do(b"sleep 0.1 | cat & wait; jobs"))
        shell.send(b"cat\n")
        wait_for_foreground(shell, "cat")
        shell.send(b"some text\n\x04")
        shown.append(shell.expect(PROMPT).decode())
        shown.append(shell.do(b"(sleep 0.1; exit 3) & wait %%; echo $?"))
        shell.send(b"exit 4\n")
        shown.append(str(shell.finish()))
        return shown
    finally:
        shell.close()


def wait_for_foreground(shell: Session, name: str) -> None:
    """Until the foreground process group of the terminal is led by a program of that name."""
    import os
    import time

    deadline = time.monotonic() + shell.timeout
    while time.monotonic() < deadline:
        try:
            leader = os.tcgetpgrp(shell.fd)
            comm = Path(f"/proc/{leader}/comm").read_text().strip()
        except OSError:
            comm = ""
        if comm == name:
            time.sleep(0.05)  # from exec to its first read
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} did not come to the foreground")


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_job_control(route: str, tmp_path: Path) -> None:
    expected = jobs("native", tmp_path)
    assert "Stopped" in expected[1]
    assert expected[-1] == "4"
    assert jobs(route, tmp_path) == expected
