# SPDX-License-Identifier: Apache-2.0
"""The prompt of `lsca sql`: reads statements until there are no more. History stays in the user's state directory."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from lsca.errors import LogError
from lsca.log import Log

HISTORY: Final = 1000
QUITS: Final = (".quit", ".exit", ".q")


def converse(log: Log, answer: Callable[[str], None]) -> None:
    """Hands each statement to `answer`. On a terminal an error is said, and the next may come; else it ends all."""
    if not sys.stdin.isatty():
        for text in statements(iter(sys.stdin)):
            answer(text)
        return
    print(f"{len(log)} records; .help says more, .quit ends", file=sys.stderr)
    with history():
        while True:
            try:
                for text in statements(typed()):
                    try:
                        answer(text)
                    except LogError as error:
                        print(f"lsca: {error}", file=sys.stderr)
                return
            except KeyboardInterrupt:
                print(file=sys.stderr)  # drops what was typed so far


def statements(lines: Iterator[str]) -> Iterator[str]:
    """What ends with a semicolon, may have several lines; a line that begins with a dot stands for itself."""
    parts: list[str] = []
    for line in lines:
        if not parts and line.strip().startswith("."):
            if line.strip() in QUITS:
                return
            yield line.strip()
            continue
        if not parts and not line.strip():
            continue
        parts.append(line.rstrip("\n"))
        if _complete("\n".join(parts)):
            yield "\n".join(parts)
            parts = []
    if "".join(parts).strip():
        yield "\n".join(parts)


def _complete(text: str) -> bool:
    """Whether a semicolon ends it that stands in no string and in no comment."""
    at, quote, ended = 0, "", False
    while at < len(text):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote, ended = char, False
        elif text.startswith("--", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        elif char == ";":
            ended = True
        elif not char.isspace():
            ended = False
        at += 1
    return ended and not quote


def typed() -> Iterator[str]:
    """Lines from the terminal; the first of a statement has another prompt than the others."""
    text = ""
    while True:
        try:
            line = input("   ...> " if text else "lsca> ")
        except EOFError:
            print(file=sys.stderr)
            return
        text = (
            ""
            if _complete(f"{text}\n{line}") or line.strip().startswith(".")
            else f"{text}\n{line}"
        )
        text = text if text.strip() else ""
        yield line


@contextlib.contextmanager
def history() -> Iterator[None]:
    """Line editing with what was typed in earlier conversations, where Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state, "lsca", "sql_history")
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
