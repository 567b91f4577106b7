# SPDX-License-Identifier: Apache-2.0
"""Answers to questions in SQL as plain values: for tables of text, CSV and JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from lsca.errors import LogError
from lsca.log.reader import Log

FETCHED: Final = 10_000  # rows at a time
TABLES: Final = ("calls", "processes", "files", "streams", "rings", "waits")
NUMBERS: Final = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave. `rows` can be read once; times are text, so that no nanosecond gets lost."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]

    def is_number(self, column: int) -> bool:
        return self.types[column].removeprefix("U").startswith(NUMBERS)


def run(log: Log, text: str) -> Result | None:
    """Runs statements; the last one's result, None if it has none. LogError with DuckDB's words."""
    relation: Any = log.sql(text)
    if relation is None:
        return None
    columns = tuple(relation.columns)
    types = tuple(map(str, relation.types))
    if columns == ("Count",) and not _asks(text):
        return None  # how many rows a CREATE or COPY has written
    if "TIMESTAMP_NS" in types and len(set(columns)) == len(columns):
        relation = relation.project(", ".join(map(_as_text, columns, types)))
    rows = _rows(relation)
    first = next(rows, None)  # so that what fails, fails here
    return Result(columns, types, rows if first is None else chain([first], rows))


def schema(log: Log, table: str | None = None) -> list[str]:
    """The tables' columns, as statements that would make them. LogError for a table that is none."""
    if table is not None and table not in TABLES:
        raise LogError(f"there is no table {table!r}; there are {', '.join(TABLES)}")
    lines = []
    for name in TABLES if table is None else (table,):
        described = run(log, f"SELECT * FROM {name} LIMIT 0")
        assert described
        columns = zip(described.columns, described.types, strict=True)
        lines.append(f"CREATE TABLE {name} ({', '.join(map(' '.join, columns))});")
    return lines


def _rows(relation: Any) -> Iterator[tuple[Any, ...]]:
    """All rows, without all of them in memory at once; version 2 of DuckDB has another word for that."""
    import duckdb

    try:
        if hasattr(relation, "iter_rows"):
            yield from relation.iter_rows()
            return
        while rows := relation.fetchmany(FETCHED):
            yield from rows
    except duckdb.Error as error:
        raise LogError(str(error)) from error


def _asks(text: str) -> bool:
    """Whether it is a question, whose answer is a table."""
    return text.lstrip().lower().startswith(("select", "from", "with", "values", "("))


def _as_text(column: str, kind: str) -> str:
    name = '"' + column.replace('"', '""') + '"'
    return f"CAST({name} AS VARCHAR) AS {name}" if kind == "TIMESTAMP_NS" else name
