# SPDX-License-Identifier: Apache-2.0
"""Runs scripts of socket calls (scripts.py, ends.c) natively and over streams, and compares what each call returned."""

import difflib
import random
from dataclasses import dataclass
from pathlib import Path

from pipe_scripts import PIPES, PipeScript
from scripts import KINDS, Script

from differential import ROOT, command, environment, program, run_in

MACHINE = ROOT / "native" / "shared"
FLAGS = (f"-I{MACHINE}", f"-I{MACHINE / 'arch' / 'x86_64'}")
STEADY = 3  # so often a native run is repeated before a difference is believed


def ends() -> str:
    return program("streams/ends.c", flags=FLAGS)


def captured(argv: list[str], *options: str) -> list[str]:
    return command("kernel", argv, "--streams=on", *options)


@dataclass
class Played:
    """What a run has printed; natively there are no rings."""

    status: int
    lines: list[str]
    rings: int  # of those processes that were asked
    others: list[str]  # complaints


def play(argv: list[str], where: Path) -> Played:
    done = run_in(where, argv, timeout=60, env=environment(where))
    said = done.stderr.decode().splitlines()
    rings = [line.split() for line in said if line.startswith("rings ")]
    return Played(
        done.returncode,
        done.stdout.decode().splitlines(),
        sum(int(words[2]) for words in rings),
        [line for line in said if not line.startswith("rings ")],
    )


def written(chance: random.Random, *, pipes: bool = False) -> tuple[str, str]:
    """A kind of connection, and a script for it."""
    kind = chance.choice(PIPES if pipes else KINDS)
    script = (PipeScript if pipes else Script)(chance, kind)
    return kind, script.write(chance.choice((30, 60, 120)))


def compared(kind: str, text: str, where: Path) -> bool:
    """AssertionError unless every call returns over streams what it returns natively. Whether there was a ring."""
    script = where / "script"
    script.write_text(text)
    argv = [ends(), kind, str(script)]
    native = play(argv, where)
    assert native.status == 0, [f"the native run of {kind} failed", *native.lines, *native.others]
    ours = play(captured(argv), where)
    if (ours.status, ours.lines, ours.others) == (native.status, native.lines, []):
        return ours.rings > 0
    for _ in range(STEADY):
        again = play(argv, where)
        if (again.status, again.lines) != (native.status, native.lines):
            return ours.rings > 0  # what is not certain natively proves nothing
    wrong = difflib.unified_diff(native.lines, ours.lines, "native", "streams", n=40, lineterm="")
    raise AssertionError("\n".join([f"{kind}: exit {ours.status}", *ours.others, *wrong]))
