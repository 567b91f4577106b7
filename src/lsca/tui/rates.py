# SPDX-License-Identifier: Apache-2.0
"""What runs now, from two answers of the daemon: processes with their calls a second, by route. For `lsca top`.

Uses the standard library only, so that `lsca top --once` needs nothing else. Failed calls are in logs, not in the
daemon's answer; who follows a log passes them in.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lsca.daemon import ask
from lsca.errors import DaemonError
from lsca.log.rings import WAITS
from lsca.log.units import number, rate, size

ROUTES: Final = ("kernel", "proxy", "local", "handler")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon's answer and when it came, in seconds of a monotonic clock."""

    at: float
    status: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A program process and what it does a second. `failed` is None if nobody counts failures: no log is written."""

    run: int
    pid: int
    command: str
    rates: tuple[float, float, float, float]
    calls: int
    age: float
    route: str
    log: str | None
    failed: float | None = None

    @property
    def rate(self) -> float:
        return sum(self.rates)


@dataclass(frozen=True, slots=True)
class Moment:
    """All runs at one moment. `hidden` counts programs that run uncaught, `lost` records without room.

    `waits`: for another side, so far, by how they ended: while spinning, after giving way, asleep; and sleepers woken.
    `streams`: connections that went through memory so far, and their bytes; `posted`: bytes of posted writes, and how
    many of them are not in their files yet.
    """

    runs: int
    processes: tuple[Process, ...]
    hidden: int
    lost: int
    waits: tuple[int, ...] = (0, 0, 0, 0)
    streams: tuple[int, ...] = (0, 0)
    posted: tuple[int, ...] = (0, 0)


def snapshot(path: str) -> Snapshot:
    """Asks the daemon. DaemonError, with what to do."""
    try:
        return Snapshot(time.monotonic(), ask(path, "status"))
    except DaemonError as error:
        raise DaemonError(f"{error}, and it will know the runs that begin after that") from error


def compare(
    before: Snapshot | None, after: Snapshot, failed: Mapping[int, float] | None = None
) -> Moment:
    """Rates between two answers; of what is new in the second, since it began. `failed`: by process, a second."""
    known: dict[tuple[int, int], Mapping[str, int]] = {}
    for session in before.status["sessions"] if before else []:
        for process in session["processes"]:
            known[session["pid"], process["pid"]] = process["calls"]
    elapsed = max(after.at - before.at, 1e-3) if before else 1.0
    now = time.time()
    found = []
    sessions = after.status["sessions"]
    for session in sessions:
        age = max(now - session["since"], 1e-3)
        for process in session["processes"]:
            if not process["alive"]:
                continue
            calls = process["calls"]
            old = known.get((session["pid"], process["pid"]))
            span = elapsed if old is not None else min(age, elapsed) if before else age
            found.append(
                Process(
                    run=session["pid"],
                    pid=process["pid"],
                    command=process["command"] or "?",
                    rates=_four(
                        max(calls[route] - (old[route] if old else 0), 0) / span for route in ROUTES
                    ),
                    calls=sum(calls.values()),
                    age=age,
                    route="preloaded" if session["preloaded"] else session["route"],
                    log=session["log"],
                    failed=None if failed is None else failed.get(process["pid"]),
                )
            )
    found.sort(key=lambda p: (-p.rate, p.run, p.pid))
    return Moment(
        len(sessions),
        tuple(found),
        sum(session["uncaught"] for session in sessions),
        sum(session["lost"] for session in sessions),
        _sums(sessions, "waits", *WAITS),
        _sums(sessions, "streams", "joined", "bytes"),
        _sums(sessions, "posted", "bytes", "waiting"),
    )


def _four(values: Iterable[float]) -> tuple[float, float, float, float]:
    kernel, proxy, local, handler = values
    return kernel, proxy, local, handler


def _sums(sessions: list[dict[str, Any]], of: str, *names: str) -> tuple[int, ...]:
    return tuple(sum(session.get(of, {}).get(name, 0) for session in sessions) for name in names)


def logs(of: Snapshot) -> list[str]:
    """The logs that runs write at this moment."""
    return [session["log"] for session in of.status["sessions"] if session["log"]]


def headline(moment: Moment) -> str:
    """All runs in one line."""
    total = [sum(p.rates[i] for p in moment.processes) for i in range(len(ROUTES))]
    by_route = ", ".join(
        f"{route} {rate(per_second)}" for route, per_second in zip(ROUTES, total, strict=True)
    )
    runs = "1 run" if moment.runs == 1 else f"{moment.runs} runs"
    programs = "1 process" if len(moment.processes) == 1 else f"{len(moment.processes)} processes"
    text = f"{runs}, {programs}, {rate(sum(total))} calls/s ({by_route})"
    if any(moment.waits):
        ends = zip(WAITS, moment.waits, strict=True)
        text += "; waits: " + ", ".join(f"{how} {number(n)}" for how, n in ends if n)
    joined, moved = moment.streams
    if joined:
        text += f"; {number(joined)} connection{'s' * (joined > 1)} by memory, {size(moved)}B"
    posted, waiting = moment.posted
    if posted:
        text += f"; {size(posted)}B posted, {size(waiting)}B to be written"
    if moment.hidden:
        text += f", {moment.hidden} uncaught"
    if moment.lost:
        text += f", {number(moment.lost)} records lost"
    return text


def table(moment: Moment) -> str:
    """The processes as plain text, for a pipe or a terminal that cannot be drawn on."""
    head = ("run", "pid", "calls/s", *ROUTES, "failed/s", "calls", "command")
    rows: list[tuple[str, ...]] = [head]
    for process in moment.processes:
        rows.append(
            (
                str(process.run),
                str(process.pid),
                rate(process.rate),
                *[rate(per_second) for per_second in process.rates],
                "-" if process.failed is None else rate(process.failed),
                number(process.calls),
                process.command,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    lines = [headline(moment)]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines) + "\n"
