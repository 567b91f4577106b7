#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make capture-table`: runs the probes natively and captured, and writes what came out into docs/capture.md.

A cell of LSCA's columns is never written by hand: "yes" says that the probe, built dynamic and static, behaved captured
as it did natively, and that its marked call is in the log. What the other ways of capturing do was measured once, on
the same machine, with the versions that docs/capture.md names; those columns are data of this file.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from differential import ROOT, Outcome, execute, program

PAGE = ROOT / "docs" / "capture.md"
ROUTES = ("kernel", "proxy")
BUILDS = {"dynamic": False, "static": True}
MARK = 0x7CA500
FOREIGN = 4  # the record flag of a call by another machine's convention
CLOCK_TAI = 11

CHANNELS = (
    "before constructors",
    "constructor",
    "libc",
    "libc's syscall",
    "raw instruction",
    "generated code",
    "writable generated code",
    "instruction across two pages",
    "library loaded later",
    "thread",
    "signal handler",
    "fork",
    "vfork",
    "spawn",
    "spawn, empty environment",
    "spawn, static",
    "through a shell",
    "i386 entry",
    "thread without libc",
    "exec from a thread",
)
CLOCK = "libc's clock"
HIDDEN_CLOCK = "libc's clock, hidden"

# A row: its name, the other ways in the order of the head, and the channels that must all be in the log.
COVERAGE_HEAD = (
    "channel", "LD_PRELOAD", "zpoline", "lazypoline", "syscall_intercept (libc / all)", "SUD, preloaded",
    "RET_TRAP", "seccomp notification, ptrace", "frida", "strace",
)  # fmt: skip
COVERAGE = (
    ("before any constructor (`.preinit_array`)", "- - - -/- - - yes - yes", ["before constructors"]),
    ("constructor of the program", "- yes yes -/yes yes yes yes - yes", ["constructor"]),
    ("libc's functions, and its `syscall()`", "yes yes yes yes/yes yes yes yes yes yes",
     ["libc", "libc's syscall"]),
    ("instruction in the program itself", "- yes yes -/yes yes yes yes - yes", ["raw instruction"]),
    ("code made at run time", "- - yes -/- yes yes yes - yes",
     ["generated code", "writable generated code"]),
    ("instruction across two pages", "? ? fault ? ? ? ? ? ?", ["instruction across two pages"]),
    ("library loaded later", "- - yes -/- yes yes yes - yes", ["library loaded later"]),
    ("thread, signal handler, child of fork", "- yes yes -/yes yes yes yes - yes",
     ["thread", "signal handler", "fork"]),
    ("thread without libc", "? ? ? ? ? ? ? ? ?", ["thread without libc"]),
    ("child of vfork", "- crash yes -/yes yes,_as_a_fork yes yes - yes", ["vfork"]),
    ("posix_spawn, same environment", "- yes yes -/yes yes killed yes - yes", ["spawn"]),
    ("posix_spawn, empty environment", "- - - -/- - killed yes - yes",
     ["spawn, empty environment", "through a shell"]),
    ("start of a static program", "- - - -/- - killed yes - yes", ["spawn, static"]),
    ("exec from a thread, empty environment", "? ? ? ? ? ? ? ? ?", ["exec from a thread"]),
    ("vDSO `clock_gettime`", "yes - - -/- - - - - -", [CLOCK]),
    ("the same with `--no-vdso`", "? ? ? ? ? ? ? ? ?", [HIDDEN_CLOCK]),
    ("`int 0x80`", "- - wrong_call -/- yes yes yes - yes", ["i386 entry"]),
)  # fmt: skip

PROPERTY_HEAD = ("property", "zpoline", "lazypoline", "syscall_intercept (all)", "RET_TRAP")
ABI, PROPERTIES = "capture/x86_64/abi.c", "capture/properties.c"
# The last two: which program, and which of its parts must all hold.
PROPERTY = (
    ("red zone of 128 bytes", "-8_lost all_lost yes yes", ABI, ["red zone"]),
    ("general registers", "r10_lost yes yes yes", ABI, ["general registers"]),
    ("flags", "? ? ? ?", ABI, ["flags"]),
    ("rcx = rip and r11 = flags afterwards", "no yes no yes", ABI, ["rcx and r11"]),
    ("xmm, ymm, zmm and mask registers", "yes yes SIGTRAP yes", ABI, ["vector registers"]),
    ("the same while signals arrive", "? ymm12-15_lost ? yes", ABI,
     ["vector registers in a storm", "registers in a storm"]),
    ("rounding modes", "? ? ? ?", ABI, ["rounding modes", "rounding modes in a storm"]),
    ("SA_RESTART, EINTR", "yes yes yes yes", PROPERTIES, ["SA_RESTART", "EINTR"]),
    ("siglongjmp out of a handler", "yes crash yes yes", PROPERTIES, ["siglongjmp"]),
    ("SA_ONSTACK", "yes assert yes yes", PROPERTIES, ["SA_ONSTACK"]),
    ("all signals blocked", "yes yes yes yes", PROPERTIES, ["all signals blocked"]),
    ("program's own SIGSYS handler", "yes abort yes no", PROPERTIES, ["own SIGSYS handler"]),
    ("800 threads, 50 forks", "yes yes yes yes", PROPERTIES, ["800 threads", "50 forks"]),
    ("vfork and exec", "abort yes yes killed", PROPERTIES, ["vfork and exec"]),
    ("NULL faults", "no no yes yes", ABI, ["NULL"]),
    ("cancelling a blocked read", "yes yes yes yes", PROPERTIES, ["cancelled read"]),
)  # fmt: skip


# ---- measuring -----------------------------------------------------------------------------------


def marks(log: Path) -> set[str]:
    """The channels whose marked call is in the log."""
    sys.path.insert(0, str(ROOT / "src"))
    from lsca.log import read_log

    seen = set()
    for record in read_log(log):
        if record.args and 0 <= record.args[0] - MARK < len(CHANNELS):
            seen.add(CHANNELS[record.args[0] - MARK])
        if record.flags & FOREIGN:
            seen.add("i386 entry")
        if record.name == "clock_gettime" and record.args[0] == CLOCK_TAI:
            seen.add(CLOCK)
    return seen


def cover(static: bool) -> tuple[str, dict[str, str]]:
    """The coverage probe and the environment it wants."""
    path = program("capture/x86_64/cover.c", static=static, flags=["-ldl"])
    env = {"COVER_STATIC": program("capture/x86_64/cover.c", static=True, flags=["-ldl"])}
    if not static:
        flags = ["-shared", "-fPIC"]
        env["COVER_LIBRARY"] = program("capture/x86_64/library.c", flags=flags, name="library.so")
    return path, env


def parts(outcome: Outcome) -> dict[str, str]:
    """What a program made of parts printed, by part."""
    found: dict[str, str] = {}
    for piece in outcome.stdout.decode().split("== ")[1:]:
        name, _, text = piece.partition("\n")
        found[name] = text
    return found


def measure_coverage(base: Path, route: str, static: bool) -> dict[str, bool]:
    """For each channel: seen, and the program none the wiser."""
    path, env = cover(static)
    log = base / "log"
    log.unlink(missing_ok=True)
    native = execute([path], base=base, env=env)
    captured = execute([path], route=route, base=base, env=env, options=["-o", str(log)])
    seen = marks(log)
    lines, expected = captured.stdout.splitlines(), native.stdout.splitlines()
    result = {}
    for channel in (*CHANNELS, CLOCK):
        own = [line for line in expected if line.startswith(channel.encode() + b":")]
        if own:  # a static program loads no library
            result[channel] = channel in seen and all(line in lines for line in own)
    log.unlink()
    options = ["-o", str(log), "--no-vdso"]
    hidden = execute([path], route=route, base=base, env=env, options=options)
    result[HIDDEN_CLOCK] = CLOCK in marks(log) and hidden.stdout == native.stdout
    return result


def measure_property(base: Path, route: str, static: bool, source: str) -> dict[str, bool]:
    """For each part of the program: all checks hold natively, and captured all is the same."""
    path = program(source, static=static)
    native = parts(execute([path], base=base))
    captured = parts(execute([path], route=route, base=base))
    for name, text in native.items():
        if ": NO" in text or not text.endswith("end: exit 0\n"):
            raise SystemExit(f"{source}: {name} does not hold natively:\n{text}")
    return {name: captured.get(name) == text for name, text in native.items()}


def cell(results: Mapping[str, Mapping[str, bool]], wanted: Iterable[str]) -> str:
    """One cell from what the builds of a probe showed."""
    verdicts = {}
    for build, result in results.items():
        held = [result[name] for name in wanted if name in result]
        if held:
            verdicts[build] = all(held)
    if not verdicts:
        raise SystemExit(f"no probe for {list(wanted)}")
    if len(set(verdicts.values())) > 1:
        return next(build for build, good in verdicts.items() if good) + " only"
    return "yes" if all(verdicts.values()) else "no"


def others(text: str) -> list[str]:
    """The cells of the other ways; "-": no, "?": not measured."""
    names = {"-": "no", "?": ""}
    return [
        " / ".join(names.get(part, part.replace("_", " ")) for part in entry.split("/"))
        for entry in text.split()
    ]


def rows() -> tuple[list[list[str]], list[list[str]]]:
    """Both tables, measured now."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        seen = {r: {b: measure_coverage(base, r, s) for b, s in BUILDS.items()} for r in ROUTES}
        kept = {
            (r, source): {b: measure_property(base, r, s, source) for b, s in BUILDS.items()}
            for r in ROUTES
            for source in (ABI, PROPERTIES)
        }
    coverage = [[label, *(cell(seen[r], wanted) for r in ROUTES), *others(text)]
                for label, text, wanted in COVERAGE]  # fmt: skip
    properties = [[label, *(cell(kept[r, source], wanted) for r in ROUTES), *others(text)]
                  for label, text, source, wanted in PROPERTY]  # fmt: skip
    return coverage, properties


# ---- the page ------------------------------------------------------------------------------------


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; LSCA's columns stand first."""
    head = [head[0], *(f"LSCA, `{route}`" for route in ROUTES), *head[1:]]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    return "\n".join(lines) + "\n"


def replaced(page: str, name: str, text: str) -> str:
    """The page with what stands between the marks of that name replaced."""
    begin, end = f"<!-- {name}: made by `make capture-table` -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.partition(begin)
    _, also, after = rest.partition(end)
    if not found or not also:
        raise SystemExit(f"{PAGE}: no place for the table of {name}")
    return before + begin + text + end + after


def written(page: str) -> str:
    """The page as it has to be."""
    coverage, properties = rows()
    page = replaced(page, "coverage", table(COVERAGE_HEAD, coverage))
    return replaced(page, "properties", table(PROPERTY_HEAD, properties))


if __name__ == "__main__":
    if platform.machine() != "x86_64":
        raise SystemExit("the probes are written for x86-64")
    PAGE.write_text(written(PAGE.read_text()))
    print(f"written: {PAGE}")
