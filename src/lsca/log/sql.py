# SPDX-License-Identifier: Apache-2.0
"""SQL about a log, by DuckDB, which is an extra: pip install 'lsca[sql]'.

DuckDB takes the calls as an Arrow stream, and of a stream it takes all columns. So each statement is planned first, to
see which of them it needs; the others are handed over empty. If the plan cannot be understood, all are.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from lsca import _log
from lsca.errors import LogError
from lsca.log import rings, views

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from lsca.log.reader import Log

SCANS: Final = ("ARROW_SCAN", "PYTHON_ARROW_SCAN")
MISSING: Final = "questions in SQL need DuckDB, which is not installed; pip install 'lsca[sql]', or: pip install duckdb"


# What is no call is gathered when it is asked for: how, into which table, and the words that ask for it.
GATHERED: Final[dict[str, tuple[Callable[["Log"], Sequence[Any]], str, str]]] = {
    "lives": (views.lives, views.LIVES, "processes|lives"),
    "rings": (rings.rings, views.RINGS, "rings"),
    "waits": (rings.waits, views.WAITED, "waits"),
}
TIMES: Final = ("started", "ended", "replaced", "began_ns", "back_ns", "ended_ns")


class Database:
    """A DuckDB database in memory, in which the log's tables are. What statements create stays in it."""

    def __init__(self, log: "Log") -> None:
        try:
            import duckdb
        except ImportError as error:
            raise LogError(MISSING) from error
        self._log = log
        self._errors = duckdb.Error
        self._main = duckdb.connect()
        self._main.execute("SET TimeZone = 'UTC'")
        self._main.execute("CREATE SCHEMA lsca")
        for _, create, _ in GATHERED.values():
            self._main.execute(create)
        self._main.register("calls", log.arrow((), padded=True))
        for name, text in (
            ("files", views.files_view()),
            ("streams", views.streams_view()),
            ("processes", views.PROCESSES),
            ("rings", "SELECT * FROM lsca.rings"),
            ("waits", "SELECT * FROM lsca.waits"),
        ):
            self._main.execute(f"CREATE VIEW {name} AS {text}")
        self._gathered: set[str] = set()
        self._latest: DuckDBPyConnection | None = None

    def interrupt(self) -> None:
        """Ends, from another thread, what the latest result is fetching: that raises duckdb.InterruptException."""
        if self._latest is not None:
            self._latest.interrupt()

    def forget(self) -> None:
        """The log has grown."""
        self._gathered.clear()

    def ask(self, query: str, parameters: object = None) -> "DuckDBPyRelation | None":
        """All statements of a query; the parameters are the last one's. Its result, unless it has none."""
        try:
            statements = self._main.extract_statements(query)
            if not statements:
                raise LogError("the query is empty")
            for statement in statements[:-1]:
                self._one(statement.query, None)
            return self._one(statements[-1].query, parameters)
        except self._errors as error:
            raise LogError(str(error)) from error

    def _one(self, query: str, parameters: object) -> "DuckDBPyRelation | None":
        for name, (_, _, words) in GATHERED.items():
            if name not in self._gathered and re.search(rf"\b({words})\b", query, re.IGNORECASE):
                self._gather(name)
        planning = self._cursor(None)
        self._latest = self._cursor(wanted(planning, query, parameters))
        return self._latest.sql(query, params=parameters)

    def _cursor(self, columns: frozenset[str] | None) -> "DuckDBPyConnection":
        """A connection of its own, whose `calls` have these columns; a result keeps it alive."""
        cursor = self._main.cursor()
        cursor.register("calls", self._log.arrow(columns, padded=True))
        return cursor

    def _gather(self, name: str) -> None:
        """Fills a table with what is no call."""
        find, create, _ = GATHERED[name]
        rows = find(self._log)
        self._main.execute(create)
        if rows:
            names = rows[0].__slots__
            columns = [[getattr(one, field) for one in rows] for field in names]
            wanted = ", ".join(
                f"make_timestamp_ns(unnest(${place}::BIGINT[]))"
                if field in TIMES
                else f"unnest(${place})"
                for place, field in enumerate(names, 1)
            )
            self._main.execute(f"INSERT INTO lsca.{name} SELECT {wanted}", columns)
        self._gathered.add(name)


def wanted(
    connection: "DuckDBPyConnection", query: str, parameters: object
) -> frozenset[str] | None:
    """The columns of `calls` that a statement needs; None if that cannot be told."""
    import duckdb

    try:
        plan = connection.execute(f"EXPLAIN (FORMAT JSON) {query}", parameters).fetchall()
        found = [list(columns(json.loads(text))) for _, text in plan]
    except (duckdb.Error, ValueError, TypeError):
        return None
    names = {name for some in found for name in some}
    return None if names - set(_log.COLUMNS) else frozenset(names)


def columns(plan: Any) -> Iterator[str]:
    """What the scans of a plan project. A plan that looks otherwise than expected is a ValueError."""
    nodes = plan if isinstance(plan, list) else [plan]
    for node in nodes:
        if not isinstance(node, dict) or not isinstance(node.get("name"), str):
            raise ValueError("this is no plan")
        if node["name"].strip() in SCANS:
            projections = node.get("extra_info", {}).get("Projections")
            if isinstance(projections, str):
                yield projections
            elif isinstance(projections, list) and all(isinstance(p, str) for p in projections):
                yield from projections
            else:
                raise ValueError("a scan without projections")
        yield from columns(node.get("children", []))
