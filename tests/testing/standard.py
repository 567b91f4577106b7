# SPDX-License-Identifier: Apache-2.0
"""Starts programs while some of 0, 1 and 2 are closed, so that pipes get these numbers, and says what they were given.

A program of its own, because pytest's descriptors are pytest's: `standard.py PLACE`. Each case natively and within a
session; what differs is written to stderr.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lsca.testing import Fixture

LOOK = """
import os, sys
found = []
for fd in range(20):
    try:
        found.append((fd, os.readlink(f"/proc/self/fd/{fd}").partition(":")[0]))
    except OSError:
        pass
with open(sys.argv[1], "w") as file:
    print(found, file=file)
"""
Within = Callable[[], "contextlib.AbstractContextManager[None]"]
STREAMS = (None, subprocess.PIPE)


def started(
    place: Path, closed: tuple[int, ...], streams: tuple[int | None, ...], within: Within
) -> str:
    """In a child, whose descriptors may be closed, and which itself is not caught."""
    told = place / "told"
    told.write_text("nothing")
    pid = os.fork()
    if not pid:
        try:
            for fd in closed:
                os.close(fd)
            given = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
            command = [sys.executable, "-IS", "-c", LOOK, str(told)]
            with within(), subprocess.Popen(command, **given) as process:
                process.communicate()
            os._exit(process.returncode)
        finally:
            os._exit(99)
    return f"{os.waitpid(pid, 0)[1]} {told.read_text()}"


def main() -> None:
    place = Path(sys.argv[1])
    cases = [
        (closed, streams)
        for count in range(4)
        for closed in itertools.combinations(range(3), count)
        for streams in itertools.product(STREAMS, repeat=3)
    ]
    native = [started(place, *case, contextlib.nullcontext) for case in cases]
    with Fixture(place / "log.lsca") as session:
        caught = [started(place, *case, session.joined) for case in cases]
        missed, programs = session.host.missed, len(session.calls("execve", "exit_group"))
    differ = [
        (*case, one, other)
        for case, one, other in zip(cases, native, caught, strict=True)
        if one != other
    ]
    print(json.dumps([len(cases), len(differ), missed, programs]))
    for one in differ:
        print(*one, sep="\n", file=sys.stderr)


main()
