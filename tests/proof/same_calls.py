# SPDX-License-Identifier: Apache-2.0
"""Runs a program of this directory under strace and with a log, and gives the calls of both without what differs by
itself from run to run: numbers of processes, times, addresses that the kernel chose, inodes.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from differential import environment, lsca, program
from lsca.table import by_name, by_number

PROGRAMS = {
    "bytes": ("transfer", "files", "descriptors", "ioctls"),
    "names": ("paths", "metadata", "xattrs", "mounts"),
    "waits": ("sockets", "waiting", "ipc"),
    "tasks": ("signals", "processes", "threads", "memory", "clocks"),
    "system": (
        "identity",
        "limits",
        "system",
        "remote",
        "obsolete",
        "security",
        "asynchronous",
    ),
}
PART_OF = {part: name for name, parts in PROGRAMS.items() for part in parts}
FLAGS = ("-static", "-no-pie", "-fno-pie")

# Calls whose structures hold times or counters of the machine: their digits mean nothing, their shape does.
MEASURED = re.compile(
    r"(clock_gettime|gettimeofday|time|times|getrusage|sysinfo|adjtimex|clock_adjtime|getcpu|timerfd_gettime"
    r"|timer_gettime|getitimer|getrandom|statfs|fstatfs|ustat)\("
)
STEADY = (
    (re.compile(r" /\* .*? \*/"), ""),
    (re.compile(r"(?<=\d) \(\d{4}-\d\d-\d\dT[^)]*\)"), ""),
    (re.compile(r"\b0x7[ef][0-9a-f]{10}\b"), "ADDRESS"),
    (
        re.compile(
            r"((?:st|stx)_(?:ino|[abcm]time(?:_nsec)?|blocks|mnt_id)|f_handle)=[^,}]+(?:, tv_nsec=\d+\})?"
        ),
        r"\1=N",
    ),
    (re.compile(r"\bleft \{tv_sec=0, tv_nsec=\d+\}"), "left N"),
    (re.compile(r"\bhtons\((?!0\))\d+\)"), "htons(PORT)"),
    (re.compile(r"(ru_\w+|si_[us]time)=(\{[^}]*\}|\d+)"), r"\1=N"),
    (re.compile(r"((?:shm|sem|msg)_(?:[acdor]?time(?:_high|_nsec)?|[sr]time|qnum))=\d+"), r"\1=N"),
)
IPC = re.compile(r"^((?:shm|sem|msg)(?:at|ctl|op|timedop|snd|rcv))\((?!123456)(\d+)")
IPC_MADE = re.compile(r"^((?:shm|sem|msg)get\(.*\) = )\d+")


@dataclass(frozen=True)
class Call:
    """One call: its name, the line without what varies, and the line as it was."""

    name: str
    text: str
    line: str


Threads = list[list[Call]]


@cache
def built(part: str) -> str:
    return program(f"proof/{PART_OF[part]}.c", flags=FLAGS, name=f"{PART_OF[part]}-fixed")


def run(
    part: str, way: str, base: Path, raw: frozenset[str] = frozenset()
) -> tuple[Threads, frozenset[str]]:
    """The calls of each thread, in the order in which the threads first made one, and those that strace does not know.

    The arguments of calls in `raw` are shown as numbers.
    """
    where = base / "run"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    out = base / f"{part}.{way}"
    if way == "strace":
        command = ["strace", "-f", "-v", "-s", "32", "-o", str(out), built(part), part]
    else:
        options = ["--no-daemon", "--route", way, "-s", "32", "-o", str(out)]
        command = [*lsca(), "run", *options, "--", built(part), part]
    done = subprocess.run(
        ["setarch", "-R", *command],
        cwd=where,
        env=environment(where),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), f"{way}: {done}"
    if way == "strace":
        text = out.read_text(errors="replace")
        return threads(text), unknown(text)
    command = [*lsca(), "log", "--plain", "-f", "-v", "-e", f"raw={','.join(raw)}", str(out)]
    shown = subprocess.run(command, capture_output=True, check=True)
    assert not shown.stderr
    return threads(shown.stdout.decode(errors="replace")), raw


def unknown(text: str) -> frozenset[str]:
    """Calls that this strace knows by their numbers only: those are compared as numbers."""
    found = (by_number("x86_64", int(nr, 16)) for nr in re.findall(r"syscall_(0x\w+)\(", text))
    return frozenset(row.name for row in found if row)


def named(line: str) -> str:
    """Such a line with the call's name, and with as many arguments as it has."""
    match = re.match(r"syscall_(0x\w+)\((.*)\) += (.*)", line)
    row = by_number("x86_64", int(match[1], 16)) if match else None
    if not match or not row:
        return line
    args = match[2].split(", ")[: len(row.arguments)]
    return f"{row.name}({', '.join(args)}) = {match[3]}"


def threads(text: str) -> Threads:
    """Of all lines of a trace; the first execve is not among them, since it comes before the agent."""
    found: dict[str, list[str]] = {}
    for tid, line in whole_lines(text):
        found.setdefault(tid, []).append(line)
    first = next(iter(found))
    if found[first][0].startswith("execve("):
        del found[first][0]
    numbers = {tid: f"PID{at}" for at, tid in enumerate(found)}
    pid = re.compile(r"\b(" + "|".join(numbers) + r")\b")
    return [[steady(line, pid, numbers) for line in lines] for lines in found.values()]


def whole_lines(text: str) -> Iterator[tuple[str, str]]:
    """Thread and call of each line; a call that strace wrote in two parts is put together, where it began."""
    lines: list[tuple[str, str]] = []
    begun: dict[str, int] = {}
    for line in text.splitlines():
        tid, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.startswith(("+++ ", "--- ")):
            continue
        if rest.startswith("<... "):
            at = begun.pop(tid)
            lines[at] = (tid, lines[at][1] + rest.partition("resumed>")[2])
            continue
        if rest.endswith("<unfinished ...>"):
            begun[tid] = len(lines)
            rest = rest.removesuffix("<unfinished ...>")
        lines.append((tid, rest))
    return iter(lines)


def steady(line: str, pid: re.Pattern[str], numbers: dict[str, str]) -> Call:
    line = named(line)
    name = line.partition("(")[0]
    text = re.sub(
        r" +(?==|[,)])", lambda match: " " if match.string[match.end()] == "=" else "", line
    )
    text = text.replace(",  ", ", ")
    for pattern, instead in STEADY:
        text = pattern.sub(instead, text)
    text = IPC.sub(r"\1(ID", IPC_MADE.sub(r"\1ID", text))
    if MEASURED.match(text):
        text = re.sub(r'"(\\x[0-9a-f]{2})+"', "RANDOM", text)
        text = re.sub(
            r"(?<=[=\[])(?!\d*\])-?\d[\d*a-fx]*|(?<=\[)\d+(?=\])|(?<== )\d{4,}", "N", text
        )
    text = pid.sub(lambda match: numbers[match[1]], text)
    return Call(name, text, line)


def refused(name: str) -> bool:
    """Under the route `proxy` this call is answered with ENOSYS."""
    row = by_name(name)
    return row is not None and row.runs == "RUNS_NOWHERE"
