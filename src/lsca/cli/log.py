# SPDX-License-Identifier: Apache-2.0
"""`lsca log FILE`: prints a log in strace's manner, or as JSON lines.

Where strace has an option, its letter means the same here; `lsca.cli.logoptions` reads them. What the log itself has to
say (damage, loss, programs that escaped) goes to stderr, so that the output can be piped on.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Final, TextIO

from lsca.cli import recovery
from lsca.cli.logoptions import Wish, parse
from lsca.cli.output import output, remarks, write_lines
from lsca.errors import LogError
from lsca.log import Log, Record, Style, as_json, as_text, open_log
from lsca.log.colour import Paint, wants_colour
from lsca.log.descriptors import Descriptors
from lsca.log.rings import TOLD
from lsca.log.summary import Summary
from lsca.log.text import Lives, dump
from lsca.table import rows
from lsca.table.text import FileOf, no_file

SUMMARY = "print a log in strace's manner"
SHOWN: Final = ("call", "start", "exit", *TOLD)  # nobody needs a line for the others
PAUSE: Final = 0.2  # seconds, until a file that grows is looked at again


def main(argv: list[str]) -> int:
    if recovery.is_asked(argv):
        return recovery.main(argv)
    wish = parse(argv)
    log = _begun(wish.file) if wish.follow else open_log(wish.file)
    if wish.verify:
        return _verify(log, wish)
    with contextlib.ExitStack() as stack:
        counts = Summary() if wish.summary else None
        printer = _Printer(log, wish, stack)
        for record, file in _wanted(log, wish):
            if counts:
                counts.add(record)
            if wish.lines:
                printer(record, file)
        if counts:
            _count(counts, wish, printer.stream())
    if not wish.follow:
        remarks(log)
    return 0


def _begun(path: str) -> Log:
    """A log that may not have been begun yet: it is waited for until its file has something in it."""
    while True:
        try:
            return open_log(path)
        except LogError:
            if not os.path.exists(path) or os.path.getsize(path):
                raise
        time.sleep(PAUSE)


def _verify(log: Log, wish: Wish) -> int:
    report = log.verify()
    calls = f"{report.records} records of {len(log.pids)} processes"
    with output(wish.output) as stream:
        if wish.json:
            facts = {
                "records": report.records,
                "missing": report.missing,
                "problems": report.problems,
            }
            stream.write(json.dumps({"complete": report.complete} | facts) + "\n")
        else:
            write_lines([f"{log.path}: {calls}", *str(report).splitlines()], stream)
    return 0 if report.complete else 1


def _wanted(log: Log, wish: Wish) -> Iterable[tuple[Record, FileOf]]:
    """The records that are asked for, each with what its descriptors stand for."""
    machine = log.header.machine
    chosen = wish.selection
    descriptors = Descriptors(log) if wish.fds or chosen.asks_for_files else None
    names = None if chosen.calls.others else chosen.calls.names
    wanted = {"names": names, "pids": chosen.pids or None, "events": names is None}
    records = log.follow(PAUSE, **wanted) if wish.follow else log.records(**wanted)  # type: ignore[arg-type]
    for record in records:
        if record.kind != "call" and not (wish.lives and (wish.json or record.kind in SHOWN)):
            continue
        file = descriptors.of(record) if descriptors else no_file
        if chosen.wants(record, machine, file):
            yield record, file if wish.fds else no_file


class _Printer:
    """Writes one record, to where it belongs; keeps the time of the line before."""

    def __init__(self, log: Log, wish: Wish, stack: contextlib.ExitStack) -> None:
        self._wish = wish
        self._stack = stack
        self._streams: dict[int, TextIO] = {}
        self._previous: int | None = None
        self._lives = Lives()
        self._style = Style(
            machine=log.header.machine,
            pid=not wish.apart and (wish.pids or len(log.pids) > 1),
            clock=wish.clock,
            duration=wish.duration,
            route=wish.route,
            strings=wish.strings,
            column=wish.column,
            digits=wish.digits,
            since=wish.since,
            since_digits=wish.since_digits,
            took_digits=wish.took_digits,
            number=wish.number,
            hex=wish.hex,
            whole=wish.whole,
            raw=frozenset(row.name for row in rows() if row.name in wish.raw),
            paint=Paint(wish.output is None and wants_colour(wish.colour, sys.stdout)),
        )

    def __call__(self, record: Record, file: FileOf) -> None:
        self._lives.follow(record)
        stream = self.stream(record.tid if self._wish.apart else 0)
        if self._wish.json:
            stream.write(as_json(record, self._style, file) + "\n")
        else:
            text = as_text(record, self._style, self._previous, file, self._lives)
            stream.write(text + "\n")
            if self._wish.reads or self._wish.writes:
                machine = self._style.machine
                write_lines(dump(record, machine, self._wish.reads, self._wish.writes), stream)
        self._previous = record.start_ns
        if self._wish.follow:
            stream.flush()

    def stream(self, tid: int = 0) -> TextIO:
        stream = self._streams.get(tid)
        if stream is None:
            path = self._wish.output
            if path is not None and tid:
                path = f"{path}.{tid}"
            opened = output(path, append=self._wish.append)
            stream = self._streams[tid] = self._stack.enter_context(opened)
        return stream


def _count(counts: Summary, wish: Wish, stream: TextIO) -> None:
    if wish.json:
        write_lines(map(json.dumps, counts.facts(wish.sort)), stream)
    else:
        write_lines([*counts.table(wish.sort, wish.columns), *counts.remarks()], stream)
