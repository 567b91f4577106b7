# SPDX-License-Identifier: Apache-2.0
"""The processes of a log as a tree of lines, or as JSON."""

from collections.abc import Iterator
from typing import Any, Final

from lsca.log.colour import Paint
from lsca.log.processes import Image, Process

BRANCHES: Final = {"fork": "├─ ", "last": "└─ ", "on": "│  ", "gap": "   "}
PLAIN: Final = {"fork": "|- ", "last": "`- ", "on": "|  ", "gap": "   "}
UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))
HEAD: Final = ("PID", "STARTED", "TOOK", "CALLS", "ERRORS", "IN CALLS", "ENDED")
LEFT: Final = frozenset({"ENDED"})


def lines(
    roots: list[Process], paint: Paint, *, unicode: bool = True, width: int | None = None
) -> Iterator[str]:
    """A head and one line for each program that ran; cut to `width` columns, if given.

    "STARTED" is since the first process began.
    """
    zero = min((root.started_ns for root in roots), default=0)
    rows = [(branch, p, image) for root in roots for branch, p, image in _walk(root, unicode)]
    cells = [_cells(process, image, zero) for _, process, image in rows]
    widths = [max(len(line[at]) for line in [HEAD, *cells]) for at in range(len(HEAD))]
    yield paint("head", _row(HEAD, widths) + "  COMMAND")
    for (branch, process, image), line in zip(rows, cells, strict=True):
        text = _row(line, widths)
        command = image.command if image else process.command
        room = None if width is None else max(10, width - len(text) - 2 - len(branch))
        shown = command if room is None or len(command) <= room else command[: room - 1] + "…"
        bad = process.signal is not None or process.exit_code not in (None, 0)
        ended = len(text) - widths[-1]
        text = text[:ended] + paint("error" if bad else "good", text[ended:])
        yield f"{text}  {paint('time', branch)}{paint('name', shown)}".rstrip()


def facts(process: Process) -> dict[str, Any]:
    """One process with its children, for --json: docs/log.md names the fields."""
    return {
        "pid": process.pid,
        "parent": process.parent.pid if process.parent else None,
        "started_ns": process.started_ns,
        "ended_ns": process.ended_ns,
        "duration_ns": process.duration_ns,
        "exit_code": process.exit_code,
        "signal": None if process.signal is None else process.ending,
        "programs": [
            {"path": image.path, "argv": list(image.argv), "started_ns": image.started_ns}
            for image in process.images
        ],
        "threads": len(process.threads),
        "calls": process.calls,
        "errors": process.errors,
        "time_ns": process.time_ns,
        "trapped": process.trapped,
        "children": [facts(child) for child in process.children],
    }


def duration(ns: int) -> str:
    """A time with three digits that count: 1.23s, 45.6ms."""
    for size, unit in UNITS:
        if ns >= size:
            value = ns / size
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f}{unit}"
    return f"{ns}ns"


def _walk(root: Process, unicode: bool) -> Iterator[tuple[str, Process, Image | None]]:
    """Each program that ran, before it the branches that lead to it. A stack, since a tree may be very deep."""
    marks = BRANCHES if unicode else PLAIN
    waiting = [(root, "", "")]
    while waiting:
        process, first, rest = waiting.pop()
        yield first, process, process.images[0] if process.images else None
        for image in process.images[1:]:
            yield rest + ("│" if unicode and process.children else "") + "= ", process, image
        for child in reversed(process.children):
            last = child is process.children[-1]
            more = marks["gap"] if last else marks["on"]
            waiting.append((child, rest + marks["last" if last else "fork"], rest + more))


def _cells(process: Process, image: Image | None, zero: int) -> tuple[str, ...]:
    if (
        image and process.images and image is not process.images[0]
    ):  # the same process, a further program
        return ("", "+" + duration(image.started_ns - zero), "", "", "", "", "")
    return (
        str(process.pid),
        "+" + duration(process.started_ns - zero),
        duration(process.duration_ns),
        str(process.calls),
        str(process.errors),
        duration(process.time_ns),
        process.ending,
    )


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    parts = [
        f"{text:<{width}}" if heading in LEFT else f"{text:>{width}}"
        for heading, text, width in zip(HEAD, cells, widths, strict=True)
    ]
    return "  ".join(parts)
