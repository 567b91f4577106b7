# SPDX-License-Identifier: Apache-2.0
"""The echo of streams.py by what others offer for it: two sockets of a sockmap, and two processes that never sleep.

pair.c does both. What may not be done here is said, and that is no failure.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from loads import run
from turns import Found, Row, in_turn, parsed, places

TITLE = "echo of 64 bytes, TCP"
NATIVE, STREAMS, SOCKMAP, SPINNING = "native", "streams", "sockmap", "spinning"
PATIENCE = 40
ROUNDS = 5


def measure(
    prefix: tuple[str, ...],
    work: Path,
    quick: bool,
    rows: list[Row],
) -> Iterator[str]:
    """`prefix`: what captures. Round by round, each time in the other order."""
    pair = str(work / "pair")
    seconds = "0.03" if quick else "0.2"
    ways = {
        NATIVE: (pair, "echo"),
        STREAMS: (*prefix, pair, "echo"),
        SOCKMAP: (pair, "sockmap"),
        SPINNING: (pair, "spin"),
    }
    found = Found()
    missing: dict[str, str] = {}
    for cpus, place in places().items():

        def echo(command: tuple[str, ...], place: frozenset[int] = place) -> Mapping[str, float]:
            if command == ways[SOCKMAP] and missing:
                return {}
            try:
                return parsed(run([*command, "tcp", seconds], place, PATIENCE))
            except RuntimeError as error:
                if command != ways[SOCKMAP]:
                    raise
                missing[SOCKMAP] = str(error)
                return {}

        in_turn(found, ways, cpus, {"echo": TITLE}, echo, 1 if quick else ROUNDS)
    yield ""
    yield f"{TITLE:<40}{'us':>3}" + "".join(way.rjust(12) for way in ways)
    for cpus in places():
        where = f"{cpus} CPU{'s' * (cpus > 1)}"
        values = {way: found.median(TITLE, cpus, way) for way in ways}
        cells = "".join(
            ("-" if v is None else f"{v / 1e3:,.2f}").rjust(12) for v in values.values()
        )
        yield f"{where:<43}{cells}"
        native = values[NATIVE] or 0
        for way in (SOCKMAP, SPINNING):
            value = values[way]
            if value:
                row: Row = {"name": f"{TITLE}, {way}, {where}", "unit": "us"}
                row |= {"native": round(native / 1e3, 3), "value": round(value / 1e3, 3)}
                rows.append(row | {"ratio": round(value / native, 5)})
    for way, why in missing.items():
        yield f"{TITLE}, {way} left out: {why}"
