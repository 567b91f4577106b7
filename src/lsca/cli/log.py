# SPDX-License-Identifier: Apache-2.0
"""`lsca log FILE`: prints a log in strace's manner, or as JSON lines.

Where strace has an option, its letter means the same here. What the log itself has to say (damage, loss, programs that
escaped) goes to stderr, so that the output can be piped on.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from lsca.errors import UsageError
from lsca.log import Log, Record, Style, as_json, as_text, open_log
from lsca.log.text import Clock
from lsca.table import by_name, rows

SUMMARY = "print a log in strace's manner"

CLOCKS: Final[tuple[Clock, ...]] = ("micros", "seconds", "micros", "epoch")  # by number of -t


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    wanted = _filter(options.expr, set(options.pid))
    log = open_log(options.file)
    clock: Clock = "relative" if options.relative else CLOCKS[min(options.time, 3)]
    if options.plain and not (options.relative or options.time):
        clock = "none"
    style = Style(
        machine=log.header.machine,
        pid=options.follow or len(log.pids) > 1,
        clock=clock,
        duration=options.duration or not options.plain,
        route=not options.plain,
        strings=options.strings,
    )
    try:
        _print(log, style, wanted, options.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # `lsca log FILE | head`: that is enough, then. Python flushes stdout once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    _remarks(log)
    return 0


def _print(log: Log, style: Style, wanted: Callable[[Record], bool], json: bool) -> None:
    previous: int | None = None
    for record in log:
        if wanted(record):
            line = as_json(record, style) if json else as_text(record, style, previous)
            sys.stdout.write(line + "\n")
            previous = record.start_ns


def _remarks(log: Log) -> None:
    remarks = [
        (log.damage, f"{log.damage}; what follows is not shown"),
        (log.lost, f"{log.lost} records were lost: there was no room for them"),
        (log.gaps, f"records are missing at {log.gaps} places"),
        (log.uncaught, f"{log.uncaught} programs ran without the agent; their calls are not here"),
    ]
    for is_so, words in remarks:
        if is_so:
            print(f"lsca: {log.path}: {words}", file=sys.stderr)


def _filter(expressions: list[str], pids: set[int]) -> Callable[[Record], bool]:
    """What -e and -p let through. Beginnings and ends of processes are shown unless calls are chosen by name."""
    names: set[str] | None = None
    inverted = False
    for expression in expressions:
        key, equals, values = expression.rpartition("=")
        if equals and key not in ("trace", "t"):
            raise UsageError(f"-e {expression}: only -e trace=NAME,... is understood")
        inverted = values.startswith("!")
        words = values.removeprefix("!").split(",")
        names = None if "all" in words else set[str]().union(*map(_names, words))

    def wanted(record: Record) -> bool:
        if record.kind not in ("call", "start", "exit"):
            return False
        if pids and record.pid not in pids and record.tid not in pids:
            return False
        if names is None:
            return not inverted
        return record.kind == "call" and (record.name in names) != inverted

    return wanted


def _names(word: str) -> set[str]:
    """The calls that one word of -e trace= stands for: a call, %FAMILY, all or none."""
    if word in ("", "all", "none"):
        return set()
    if word.startswith("%"):
        family = {row.name for row in rows() if row.family == word[1:]}
        if not family:
            known = ", ".join(sorted({"%" + row.family for row in rows()}))
            raise UsageError(f"-e trace={word}: there is no such family; there are {known}")
        return family
    if by_name(word) is None:
        raise UsageError(f"-e trace={word}: there is no such system call")
    return {word}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `lsca log --help`")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lsca log", description="Print a log of `lsca run -o FILE`."
    )
    option = parser.add_argument
    option("file", metavar="FILE")
    option(
        "-e",
        dest="expr",
        action="append",
        default=[],
        metavar="trace=NAME,...",
        help="only these calls; trace=!NAME,...: all but these",
    )
    option(
        "-p",
        dest="pid",
        action="append",
        default=[],
        type=int,
        metavar="PID",
        help="only this process or thread",
    )
    option(
        "-f",
        dest="follow",
        action="store_true",
        help="print process numbers even if there is only one process",
    )
    option(
        "-t",
        dest="time",
        action="count",
        default=0,
        help="time of day in seconds; -tt in microseconds (the default); -ttt since 1970",
    )
    option("-r", dest="relative", action="store_true", help="time since the line before")
    option("-T", dest="duration", action="store_true", help="time spent in the call (with --plain)")
    option(
        "-s",
        dest="strings",
        type=int,
        default=32,
        metavar="SIZE",
        help="bytes of a string that are shown (default: 32)",
    )
    option("--plain", action="store_true", help="the calls alone: no time, duration or route")
    option("--json", action="store_true", help="one JSON object per line")
    return parser
