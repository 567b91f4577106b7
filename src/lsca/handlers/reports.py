# SPDX-License-Identifier: Apache-2.0
"""What went wrong in a handler, in words: which call, what, where; and what became of the call."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

KEPT: Final = 1000  # reports; a handler that always fails is called very often
SAID: Final = 5  # of the same error at the same place, to a terminal
PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Report(NamedTuple):
    """One error of a handler. `where` is FILE:LINE, `became` what happened to the call."""

    call: str
    error: str
    where: str
    became: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.error}; in {self.call}, which {self.became}"


def place(trace: TracebackType | None) -> str:
    """Where an exception came from: the innermost line that is not LSCA's own."""
    found = ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(PACKAGE) and os.path.exists(name):
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found or "lsca"


def handler_place(handler: object) -> str:
    """Where a handler is written."""
    code = getattr(handler, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)


def of_exception(call: str, error: BaseException, became: str) -> Report:
    """The report of an exception."""
    words = str(error)
    name = type(error).__name__
    from traceback import format_exception  # most runs go well

    text = "".join(format_exception(error))
    return Report(
        call, f"{name}: {words}" if words else name, place(error.__traceback__), became, text
    )


class Reports:
    """Collects reports; `say` is told of the first few of each kind."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.kept: list[Report] = []
        self.left_out = 0
        self._say = say
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, report: Report) -> None:
        with self._lock:
            if len(self.kept) < KEPT:
                self.kept.append(report)
            else:
                self.left_out += 1
            key = (report.where, report.error)
            self._seen[key] += 1
            count = self._seen[key]
        if self._say is not None and count <= SAID:
            last = "; more of these are not shown" if count == SAID else ""
            self._say(f"{report}{last}")


def to_stderr(text: str) -> None:
    """LSCA's own words, whatever has become of stderr."""
    try:
        sys.stderr.write(f"lsca: {text}\n")
        sys.stderr.flush()
    except (OSError, AttributeError, ValueError):
        pass
