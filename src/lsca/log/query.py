# SPDX-License-Identifier: Apache-2.0
"""Questions in SQL: opens logs as a database, runs statements, gives results as plain values.

DuckDB is imported when a database is opened, and by nobody else; without it, the error says what to install.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lsca.errors import LogError
from lsca.log.reader import read_log
from lsca.log.tables import TYPES, connect

FETCHED: Final = 10_000  # rows at a time
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


class Database:
    """The tables of some logs."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Opens the logs at `paths`. LogError if one cannot be read, or if DuckDB is missing."""
        self.logs = [read_log(path) for path in paths]
        self._connection = connect(self.logs)

    def run(self, text: str) -> Result | None:
        """Runs statements; the last one's result, None if it has none. LogError with DuckDB's words."""
        import duckdb

        try:
            cursor = self._connection.execute(self._exact(text))
            if cursor is None or not cursor.description:
                return None
            columns = tuple(part[0] for part in cursor.description)
            types = tuple(str(part[1]) for part in cursor.description)
            first = cursor.fetchmany(FETCHED)
        except duckdb.Error as error:
            raise LogError(_words(error)) from error
        if columns == ("Count",) and not _asks(text):
            return None  # how many rows a CREATE or COPY has written
        return Result(columns, types, self._rows(cursor, first))

    def _exact(self, text: str) -> str:
        """The same question with times as text: as Python's own they would lose what is below a microsecond."""
        import duckdb

        plain = text.strip().rstrip(";")
        if not _asks(plain):
            return text
        try:
            described = self._connection.execute(f"DESCRIBE {plain}").fetchall()
        except duckdb.Error:
            return text  # to fail there, with the place where it is wrong
        names = [str(row[0]) for row in described]
        if len(set(names)) < len(names) or not any(
            "TIMESTAMP_NS" in str(row[1]) for row in described
        ):
            return text
        chosen = ", ".join(_as_text(str(row[0]), str(row[1])) for row in described)
        return f"SELECT {chosen} FROM ({plain}\n)"

    def schema(self, table: str | None = None) -> list[str]:
        """The tables' columns, as statements that would make them. LogError for a table that is none."""
        if table is not None and table not in TYPES:
            raise LogError(f"there is no table {table!r}; there are {', '.join(TYPES)}")
        return [
            f"CREATE TABLE {name} ({columns});"
            for name, columns in TYPES.items()
            if table in (None, name)
        ]

    @staticmethod
    def _rows(cursor: Any, first: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        import duckdb

        rows = first
        while rows:
            yield from rows
            try:
                rows = cursor.fetchmany(FETCHED)
            except duckdb.Error as error:
                raise LogError(_words(error)) from error


def _asks(text: str) -> bool:
    """Whether it is a question, whose answer is a table."""
    return text.lstrip().lower().startswith(("select", "from", "with", "values", "("))


def _as_text(column: str, kind: str) -> str:
    name = '"' + column.replace('"', '""') + '"'
    return f"CAST({name} AS VARCHAR) AS {name}" if kind == "TIMESTAMP_NS" else name


def _words(error: Exception) -> str:
    """DuckDB's message: "Binder Error: ..." with the place in the query below it."""
    lines = [line.rstrip() for line in str(error).splitlines()]
    return "the query failed: " + "\n".join(line for line in lines if line)
