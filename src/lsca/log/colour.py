# SPDX-License-Identifier: Apache-2.0
"""Colours of a terminal: whether they are wanted, and how a word gets one. What is printed does this last."""

import os
from dataclasses import dataclass
from typing import Final, Literal, TextIO

When = Literal["auto", "always", "never"]
WHENS: Final[tuple[When, ...]] = ("auto", "always", "never")

CODES: Final = {
    "name": "1",
    "error": "31",
    "good": "32",
    "path": "36",
    "time": "2",
    "life": "33",
    "head": "1",
}
PIDS: Final = ("34", "35", "36", "32", "33", "94", "95", "96")  # neighbours differ


@dataclass(frozen=True, slots=True)
class Paint:
    """Puts colours on words, or does not. A role of `CODES` says which."""

    on: bool = False

    def __call__(self, role: str, text: str) -> str:
        return f"\033[{CODES[role]}m{text}\033[0m" if self.on and text else text

    def pid(self, pid: int, text: str) -> str:
        """A process has the same colour on all its lines."""
        return f"\033[{PIDS[pid % len(PIDS)]}m{text}\033[0m" if self.on else text


def wants_colour(when: When, stream: TextIO) -> bool:
    """ "auto": on a terminal that can, unless NO_COLOR says no (https://no-color.org)."""
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
