# SPDX-License-Identifier: Apache-2.0
"""Ways that are measured by turns, for streams.py and rivals.py: where, what was found, and in which order."""

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ONE, TWO = 1, 2  # CPUs
Row = dict[str, object]


@dataclass
class Found:
    """Values by (key, CPUs, way), one per round, in nanoseconds; and what did not run."""

    values: dict[tuple[str, int, str], list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def median(self, key: str, cpus: int, way: str) -> float | None:
        found = self.values.get((key, cpus, way))
        return statistics.median(found) if found else None


def places() -> dict[int, frozenset[int]]:
    allowed = sorted(os.sched_getaffinity(0))
    return {n: frozenset(allowed[:n]) for n in (ONE, TWO) if n <= len(allowed)}


def parsed(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


def in_turn(
    found: Found,
    ways: Mapping[str, tuple[str, ...]],
    cpus: int,
    keys: Mapping[str, str],
    measure: Callable[[tuple[str, ...]], Mapping[str, float]],
    rounds: int,
) -> None:
    """Each round begins with the other way. `keys`: what a printed value is called."""
    for number in range(rounds):
        for way in list(ways)[:: -1 if number % 2 else 1]:
            for name, value in measure(ways[way]).items():
                if name in keys:
                    found.values.setdefault((keys[name], cpus, way), []).append(value)
