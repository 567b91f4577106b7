# SPDX-License-Identifier: Apache-2.0
"""`lsca log FILE`: prints a log in strace's manner, or as JSON lines.

Where strace has an option, its letter means the same here; `lsca.cli.logoptions` reads them. What the log itself has to
say (damage, loss, programs that escaped) goes to stderr, so that the output can be piped on.
"""

import contextlib
import json
import sys
from collections.abc import Iterable
from typing import TextIO

from lsca.cli.logoptions import Wish, parse
from lsca.cli.output import output, remarks, write_lines
from lsca.log import Log, Record, Style, as_json, as_text, read_log
from lsca.log.colour import Paint, wants_colour
from lsca.log.descriptors import Descriptors
from lsca.log.follow import follow
from lsca.log.health import recover, report
from lsca.log.summary import Summary
from lsca.log.text import Lives, dump
from lsca.table import rows
from lsca.table.text import FileOf, no_file

SUMMARY = "print a log in strace's manner"


def main(argv: list[str]) -> int:
    wish = parse(argv)
    if wish.recover:
        for line in recover(wish.file or None):
            print(f"lsca: {line}", file=sys.stderr)
        if not wish.file:
            return 0
    log = read_log(wish.file)
    if wish.verify:
        lines, whole = report(log)
        with output(wish.output) as stream:
            write_lines(lines, stream)
        return 0 if whole else 1
    records: Iterable[Record] = log
    if wish.follow:
        log, records = follow(wish.file)
    with contextlib.ExitStack() as stack:
        counts = Summary() if wish.summary else None
        printer = _Printer(log, wish, stack)
        for record, file in _wanted(log, records, wish):
            if counts:
                counts.add(record)
            if wish.lines:
                printer(record, file)
        if counts:
            _count(counts, wish, printer.stream())
    if not wish.follow:
        remarks(log)
    return 0


def _wanted(log: Log, records: Iterable[Record], wish: Wish) -> Iterable[tuple[Record, FileOf]]:
    """The records that are asked for, each with what its descriptors stand for."""
    machine = log.header.machine
    chosen = wish.selection
    descriptors = Descriptors(machine) if wish.fds or chosen.asks_for_files else None
    for record in records:
        file = descriptors.follow(record) if descriptors else no_file
        if record.kind != "call" and not wish.lives:
            continue
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
            stream.write(as_text(record, self._style, self._previous, file, self._lives) + "\n")
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
        write_lines(counts.table(wish.sort, wish.columns), stream)
