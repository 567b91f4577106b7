# SPDX-License-Identifier: Apache-2.0
"""Denials with a voice: which rule refused which call of which process, said on stderr as often as is bearable.

Used by the services that refuse calls. All denials are counted, the first of each kind are kept in full.
"""

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import lsca

SAID: Final = 5  # of one rule and one program
KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Denial:
    """One refused call in words."""

    rule: str
    call: str
    process: str
    error: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.process}: {self.call}: {self.error}, by {self.rule}"


class Denials:
    """Says and counts. `enforce=False`: says what would be refused, and lets it be."""

    def __init__(self, say: Callable[[str], None] | None, *, enforce: bool = True) -> None:
        self.kept: list[Denial] = []
        self.enforce = enforce
        self._say = say
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def deny(self, call: lsca.Syscall, rule: str, error: int, subject: str = "") -> lsca.Verdict:
        """Notes it, and gives the verdict."""
        name = f"{call.process.name}[{call.process.pid}]"
        try:
            text = str(call)
        except OSError:
            text = call.row_name()
        denial = Denial(rule, text, name, errno.errorcode.get(error, str(error)), subject)
        with self._lock:
            key = (rule, call.process.name)
            self._counts[key] += 1
            count = self._counts[key]
            if len(self.kept) < KEPT:
                self.kept.append(denial)
        if self._say is not None and count <= SAID:
            more = "; more of these are only counted" if count == SAID else ""
            word = "denied" if self.enforce else "would be denied"
            self._say(f"{word}: {denial} ({os.strerror(error)}){more}")
        return lsca.fail(error) if self.enforce else lsca.go_on

    def note(self, what: str, rule: str) -> None:
        """Notes, once, what was refused without a call of its own."""
        with self._lock:
            key = (rule, what)
            self._counts[key] += 1
            is_first = self._counts[key] == 1
        if is_first and self._say is not None:
            self._say(f"denied: {what}, by {rule}")

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    def close(self) -> None:
        """Says how often, of what was said no more."""
        for (rule, name), count in sorted(self._counts.items()):
            if count > SAID and name and self._say is not None:
                self._say(f"denied {count} times: {name}, by {rule}")
        self._counts.clear()
