# SPDX-License-Identifier: Apache-2.0
"""Failed calls a second, for `lsca top`: counted in the logs of runs that write one, as they grow.

A look at a log reads it anew, so a long log is looked at seldom: at most a tenth of the time is spent on it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from lsca.errors import LogError
from lsca.tui.source import Source, open_source

SHARE: Final = 10
COUNT: Final = "SELECT pid, count(error) FROM calls GROUP BY pid"


@dataclass(slots=True)
class _Log:
    """What is known of one log: failures by process at some moment, and a second."""

    at: float = 0.0
    counts: dict[int, int] | None = None
    rates: dict[int, float] = field(default_factory=dict)
    not_before: float = 0.0


class Failures:
    """Follows the logs that it is told of, and forgets the others."""

    def __init__(self, opener: Callable[[str], Source] = lambda path: open_source([path])) -> None:
        self._open = opener
        self._logs: dict[str, _Log] = {}

    def look(self, paths: Iterable[str]) -> dict[int, float]:
        """Failures a second by process. A log that cannot be read says nothing: there may be no record in it yet."""
        self._logs = {path: self._logs.get(path, _Log()) for path in paths}
        found: dict[int, float] = {}
        for path, log in self._logs.items():
            if time.monotonic() >= log.not_before:
                self._read(path, log)
            found |= log.rates
        return found

    def _read(self, path: str, log: _Log) -> None:
        before = time.monotonic()
        try:
            counts: dict[int, int] = dict(self._open(path).rows(COUNT))
        except LogError:
            counts = {}
        now = time.monotonic()
        if log.counts is not None:
            elapsed = max(now - log.at, 1e-3)
            log.rates = {
                pid: max(count - log.counts.get(pid, 0), 0) / elapsed
                for pid, count in counts.items()
            }
        log.at, log.counts = now, counts
        log.not_before = now + (now - before) * SHARE
