# SPDX-License-Identifier: Apache-2.0
"""Where verbs that print a log write to: stdout, a file of -o, a pipe whose reader has seen enough."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from lsca.errors import LogError, UsageError
from lsca.log import Log


@contextlib.contextmanager
def output(path: str | None, *, append: bool = False) -> Iterator[TextIO]:
    """stdout, or the file at `path`. A reader that goes away (`| head`) ends the block, and is no error."""
    if path is not None:
        if path[:1] in ("|", "!"):
            raise UsageError(
                f"-o {path}: write to a pipe with the shell: lsca ... | {path[1:].strip()}"
            )
        try:
            with open(
                path, "a" if append else "w", encoding="utf-8", errors="surrogateescape"
            ) as f:
                yield f
        except OSError as error:
            raise LogError(f"cannot write {path}: {error.strerror}") from error
        return
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # paths need not be UTF-8
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # That is enough, then. Python flushes stdout once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_lines(lines: Iterable[str], stream: TextIO) -> None:
    for line in lines:
        stream.write(line + "\n")


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal; None if it is none, where nothing should be cut."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def remarks(log: Log) -> None:
    """What the log itself has to say goes to stderr, so that the output can be piped on."""
    said = [
        (log.damage, f"{log.damage}; what follows is not shown"),
        (log.lost, f"{log.lost} records were lost: there was no room for them"),
        (log.gaps, f"records are missing at {log.gaps} places"),
        (
            log.uncaught,
            f"{log.uncaught} program{'s' * (log.uncaught > 1)} ran without the agent, whose calls are not here",
        ),
    ]
    for is_so, words in said:
        if is_so:
            print(f"lsca: {log.path}: {words}", file=sys.stderr)
