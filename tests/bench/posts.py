# SPDX-License-Identifier: Apache-2.0
"""What posted writes cost, for bench.py: 64 bytes to a file natively, captured, posted, posted with a log; and by a
program to whose file no pattern fits, for which nothing should be different.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from loads import run

KINDS = (
    ("write", "write 64 bytes to a file", (), ()),
    ("append", "the same with O_APPEND", (), ("a",)),
    ("inherited", "the same, opened by a shell", ("sh", "-c", 'exec "$0" "$@" 9>>"$2"'), ("9",)),
)
AIM_RATIO, AIM_NS, AIM_OTHERS = 12, 45, 1.1
Row = dict[str, object]


def measure(command: Path, work: Path, quick: bool, rows: list[Row]) -> Iterator[str]:
    """The lines of the table; `rows` gets what goes into bench.json."""
    captured = (str(command), "run", "--no-daemon")
    ways = {
        "native": (),
        "kernel": (*captured, "--"),
        "posted": (*captured, "--post", "posted", "--"),
        "posted, log": (*captured, "--post", "posted", "-o", str(work / "posts.lsca"), "--"),
        "not posted": (*captured, "--post", "another", "--"),
    }
    allowed = sorted(os.sched_getaffinity(0))
    for count in (1, 2)[: len(allowed)]:
        place = f"{count} CPU{'s' * (count > 1)}"
        yield ""
        yield f"posted writes, {place:<21}" + "".join(f"{way:>14}" for way in ways)
        for key, title, before, flags in KINDS:
            found: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(2 if quick else 5):
                for way, prefix in ways.items():
                    argv = [*prefix, *before, str(work / "posts"), "0.03" if quick else "0.15"]
                    out = run([*argv, str(work / "posted"), *flags], frozenset(allowed[:count]), 60)
                    found[way].append(float(out.split()[1]))
            times = {way: median(values) for way, values in found.items()}
            yield f"{title:<32}{'ns':>4}" + "".join(f"{one:>14,.0f}" for one in times.values())
            native = times["native"]
            for way, value in list(times.items())[1:]:
                row: Row = {"name": f"{title}, {way}, {place}", "unit": "ns"}
                rows.append(
                    row | {"native": native, "value": value, "ratio": round(value / native, 3)}
                )
            yield from verdicts(key, place, times)


def verdicts(key: str, place: str, times: dict[str, float]) -> Iterator[str]:
    faster, others = times["native"] / times["posted"], times["not posted"] / times["kernel"]
    met = "met" if faster >= AIM_RATIO and times["posted"] <= AIM_NS else "not met"
    title = f"  {key}, {place}: posted, times faster"
    yield f"{title:<44} aim {AIM_RATIO:>6}      now {faster:>7.1f}      {met}"
    met = "met" if others <= AIM_OTHERS else "not met"
    yield f"{'  another file, to one without --post':<44} aim {AIM_OTHERS:>6}      now {others:>7.2f}      {met}"
