# SPDX-License-Identifier: Apache-2.0
"""The calls of a picture: each by itself where it is wide enough to be seen, the others counted by pixels.

DuckDB counts; what comes here is bounded by lanes times pixels, and is coarsened until it is at most LIMIT pieces,
however many calls there are.
"""

from dataclasses import dataclass
from typing import Final

from lsca.log.units import duration, number
from lsca.plot.layout import LEFT, Lane, Layout
from lsca.plot.model import GROUPS, Query, group_sql

LIMIT: Final = 4000  # rectangles of calls in a picture
SINGLE: Final = 1500  # up to so many calls each is drawn by itself
MANY: Final = 1_000_000  # calls, from which on tooltips do without paths
PIXEL: Final = 1.5
NAMES: Final = list(GROUPS)


@dataclass(slots=True)
class Piece:
    """A rectangle in a lane: one call, or several of which most time went to `group`. `level` of 4: how busy."""

    begin: int
    end: int
    group: int
    level: int
    words: str
    single: bool = False


@dataclass(slots=True)
class Mark:
    """Failed calls at (nearly) the same place of a lane."""

    at: int
    words: str


@dataclass(slots=True)
class Strip:
    """What stands in a lane."""

    lane: Lane
    pieces: list[Piece]
    marks: list[Mark]


def strips(layout: Layout, query: Query) -> list[Strip]:
    """All lanes with their calls."""
    lanes = [lane for row in layout.rows for lane in row.lanes if lane.threads]
    pixel = PIXEL
    while True:
        found = _strips(layout, query, lanes, pixel)
        if sum(len(s.pieces) + len(s.marks) for s in found) <= LIMIT or pixel > 100:
            return found
        pixel *= 2


def rates(layout: Layout, query: Query, pixels: int = 4) -> tuple[int, list[list[int]]]:
    """How many calls of each group began in each of so many nanoseconds: the width of a bin, [group][bin]."""
    bins = max((layout.right - LEFT) // pixels, 1)
    width = -(-layout.run.span // bins)
    counts = [[0] * bins for _ in GROUPS]
    asked = query(
        f"SELECT (epoch_ns(start) - {layout.run.origin}) // {width} AS bin, {group_sql()} AS grp, "
        "count(*) FROM calls GROUP BY 1, 2"
    )
    for at, group, calls in asked:
        counts[group][min(max(at, 0), bins - 1)] += calls
    return width, counts


def totals(query: Query) -> dict[int, tuple[int, int]]:
    """Calls and nanoseconds of each group."""
    asked = query(
        f"SELECT {group_sql()} AS grp, count(*), coalesce(sum(duration_ns), 0)::BIGINT "
        "FROM calls GROUP BY 1"
    )
    return {group: (calls, ns) for group, calls, ns in asked}


def _strips(layout: Layout, query: Query, lanes: list[Lane], pixel: float) -> list[Strip]:
    run = layout.run
    bins = max(int((layout.right - LEFT) / pixel), 1)
    width = -(-run.span // bins)
    apart = 0 if run.calls <= SINGLE and pixel == PIXEL else width
    found = [Strip(lane, [], []) for lane in lanes]
    # One number for a lane: SQL then needs to know of no threads.
    owner = {
        (row.process.run, thread.serial): number_
        for number_, (row, lane) in enumerate(
            (row, lane) for row in layout.rows for lane in row.lanes if lane.threads
        )
        for thread in lane.threads
    }
    crowded = {number_ for number_, lane in enumerate(lanes) if len(lane.threads) > 1}
    _singles(layout, query, owner, found, apart)
    if apart:
        _counted(layout, query, owner, found, width, crowded)
    _failed(layout, query, owner, found, width)
    for strip in found:
        strip.pieces.sort(key=lambda p: (p.begin, p.end))
        strip.pieces = _joined(strip.pieces)
    return found


def _singles(
    layout: Layout, query: Query, owner: dict[tuple[int, int], int], found: list[Strip], apart: int
) -> None:
    """Calls that are wider than a bin. In a thread they lie side by side, so they are no more than there are bins."""
    origin = layout.run.origin
    # What a call is about takes longer to find out than all else of it.
    about = "coalesce(argv, path, address, file)" if layout.run.calls <= MANY else "NULL"
    asked = query(
        f"SELECT run, thread, epoch_ns(start) - {origin}, "
        f"coalesce(duration_ns, 0), {group_sql()}, name, error, {about} "
        f"FROM calls WHERE coalesce(duration_ns, 0) >= {apart} ORDER BY start, thread, seq LIMIT {LIMIT * 50}"
    )
    for run, thread, begin, took, group, name, error, about in asked:
        number_ = owner.get((run, thread))
        if number_ is None:
            continue
        words = f"{name} {about}" if about else name
        words = f"{words[:120]}: {duration(took)}" + (f", {error}" if error else "")
        found[number_].pieces.append(Piece(begin, begin + took, group, 4, words, single=True))


def _counted(
    layout: Layout,
    query: Query,
    owner: dict[tuple[int, int], int],
    found: list[Strip],
    width: int,
    crowded: set[int],
) -> None:
    """The shorter calls: per lane and bin how many, how long, and which group had most of the time."""
    asked = query(
        f"SELECT run, thread, (epoch_ns(start) - {layout.run.origin}) // {width} AS bin, "
        f"{group_sql()} AS grp, count(*), sum(duration_ns)::BIGINT "
        f"FROM calls WHERE duration_ns < {width} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    )
    bins: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for run, thread, at, group, calls, ns in asked:
        number_ = owner.get((run, thread))
        if number_ is not None:
            here = bins.setdefault((number_, at), {})
            before = here.get(group, (0, 0))
            here[group] = (before[0] + calls, before[1] + ns)
    for (number_, at), here in sorted(bins.items()):
        calls = sum(n for n, _ in here.values())
        ns = sum(n for _, n in here.values())
        group = max(here, key=lambda g: (here[g][1], here[g][0], -g))
        threads = len(found[number_].lane.threads) if number_ in crowded else 1
        share = ns / (width * threads)
        level = 1 if share < 0.05 else 2 if share < 0.25 else 3 if share < 0.6 else 4
        most = sorted(here.items(), key=lambda item: -item[1][1])[:3]
        words = f"{number(calls)} calls in {duration(ns)}: " + ", ".join(
            f"{number(n)} {NAMES[g]}" for g, (n, _) in most
        )
        found[number_].pieces.append(Piece(at * width, (at + 1) * width, group, level, words))


def _failed(
    layout: Layout, query: Query, owner: dict[tuple[int, int], int], found: list[Strip], width: int
) -> None:
    asked = query(
        f"SELECT run, thread, (epoch_ns(start) - {layout.run.origin}) // {width} AS bin, "
        "error, name, count(*) FROM calls WHERE error IS NOT NULL "
        "GROUP BY 1, 2, 3, 4, 5 ORDER BY 3, 6 DESC, 4, 5"
    )
    bins: dict[tuple[int, int], list[str]] = {}
    for run, thread, at, error, name, calls in asked:
        number_ = owner.get((run, thread))
        if number_ is not None:
            words = f"{name} {error}" + (f" x{number(calls)}" if calls > 1 else "")
            bins.setdefault((number_, at), []).append(words)
    for (number_, at), words_ in sorted(bins.items()):
        more = f", and {len(words_) - 4} other kinds" if len(words_) > 4 else ""
        mark = Mark(at * width + width // 2, "failed: " + ", ".join(words_[:4]) + more)
        found[number_].marks.append(mark)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours that look the same become one; a lone one keeps its own words."""
    joined: list[Piece] = []
    counts: list[int] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if (
            last
            and not (last.single or piece.single)
            and last.end == piece.begin
            and (last.group, last.level) == (piece.group, piece.level)
        ):
            last.end = piece.end
            counts[-1] += 1
            continue
        joined.append(piece)
        counts.append(1)
    for piece, count in zip(joined, counts, strict=True):
        if count > 1:
            busy = ("", "under 5%", "5 to 25%", "25 to 60%", "over 60%")[piece.level]
            length = duration(piece.end - piece.begin)
            piece.words = f"{length} of mostly {NAMES[piece.group]}, {busy} of the time in calls"
    return joined
