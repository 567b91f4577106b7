# SPDX-License-Identifier: Apache-2.0
"""Runs a program natively and over streams, compares, and says how many connections of it went through memory."""

import os
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from playing import captured

from differential import environment

SAID = re.compile(
    rb"lsca: (\d+) connections? went through memory, \d+ bytes(; some went back to the kernel)?\r\n"
)
KILLED = re.compile(rb" *\d+ (?=Killed|Broken pipe)")  # as bash says it: with its pid


def run_at_terminal(
    argv: Sequence[str], where: Path, timeout: float = 60
) -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr, which is a terminal: only there lsca says what became of connections."""
    ours, theirs = os.openpty()
    said: list[bytes] = []

    def listen() -> None:
        try:
            while part := os.read(ours, 65536):
                said.append(part)
        except OSError:
            return  # the last one has closed it

    listener = threading.Thread(target=listen)
    try:
        with subprocess.Popen(
            argv,
            cwd=where,
            env=environment(where),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            listener.start()
            try:
                out = process.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                raise
        listener.join(timeout)
    finally:
        os.close(ours)
    return process.returncode, out, b"".join(said)


def rings_of(argv: Sequence[str], where: Path) -> tuple[int, bytes]:
    """AssertionError unless both are the same; connections that went through memory, and what was printed."""
    native = run_at_terminal(argv, where)
    status, out, said = run_at_terminal(captured(list(argv)), where)
    found = SAID.search(said)
    assert (status, out, KILLED.sub(b"", SAID.sub(b"", said))) == (
        *native[:2],
        KILLED.sub(b"", native[2]),
    )
    return int(found[1]) if found else 0, out
