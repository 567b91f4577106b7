# SPDX-License-Identifier: Apache-2.0
"""A log in other programs' formats: JSON lines, strace's text, Parquet, a trace for Perfetto."""

from collections.abc import Iterator
from typing import Final

from lsca.errors import LogError
from lsca.log import perfetto, query
from lsca.log.descriptors import Descriptors
from lsca.log.reader import Log
from lsca.log.text import Lives, Style, as_json, as_text

FORMATS: Final = ("jsonl", "strace", "parquet", "perfetto")
TEXTS: Final = ("jsonl", "strace", "perfetto")


def text(log: Log, form: str, strings: int = 32) -> Iterator[str]:
    """The lines of one of TEXTS."""
    if form == "jsonl":
        return _json_lines(log, strings)
    if form == "strace":
        return _strace(log, strings)
    return perfetto.lines(log, strings)


def parquet(log: Log, out: str) -> None:
    """Writes the table `calls` of a log, or of several, to a Parquet file. LogError."""
    if not out or "\0" in out:
        raise LogError("Parquet wants a file: -o OUT.parquet")
    quoted = out.replace("'", "''")
    copy = f"COPY (SELECT * FROM calls) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
    query.run(log, copy)


def _json_lines(log: Log, strings: int) -> Iterator[str]:
    style = Style(log.header.machine, strings=strings)
    descriptors = Descriptors(log)
    for record in log:
        yield as_json(record, style, descriptors.of(record))


def _strace(log: Log, strings: int) -> Iterator[str]:
    """As `strace -f -ttt -T -o FILE` writes it. Beginnings of processes are left out: strace has no line for them."""
    style = Style(log.header.machine, clock="epoch", route=False, strings=strings)
    lives = Lives()
    for record in log:
        lives.follow(record)
        if record.kind in ("call", "exit"):
            yield as_text(record, style, lives=lives)
