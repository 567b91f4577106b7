# SPDX-License-Identifier: Apache-2.0
"""What it costs to read a log: `python tests/bench/log.py` makes one of ten million calls and asks it this and that.

Each time is the best of three, in milliseconds, with the file in memory; --calls N takes another number. No time is
judged: that is for people who look at the table.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from logs import compile_native

import lsca

QUERIES = {
    "count": "SELECT count(*) FROM calls",
    "group by name": "SELECT name, count(*), sum(duration_ns), max(duration_ns) FROM calls GROUP BY name",
    "slowest ten": "SELECT start, name, duration_ns FROM calls ORDER BY duration_ns DESC LIMIT 10",
    "sorted by start": "SELECT start, name FROM calls ORDER BY start OFFSET 1000 LIMIT 10",
    "one path": "SELECT count(*), sum(bytes) FROM calls WHERE path LIKE '%/file42.c'",
    "files": "SELECT path, read_bytes FROM files ORDER BY read_bytes DESC LIMIT 10",
    "processes": "SELECT * FROM processes",
}


def make(directory: Path, calls: int) -> Path:
    """A log of so many calls."""
    log = directory / "big.lsca"
    sources = ("native/log/encode.c", "native/log/hash.c")
    program = compile_native("log_calls", sources, directory)
    subprocess.run([str(program), str(log), str(calls)], check=True)
    return log


def best(work: Callable[[], object], times: int = 3) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken) * 1000


def measure(path: Path, calls: int) -> dict[str, float]:
    log = lsca.open_log(path)
    few = min(calls, 100_000)
    found = {
        "bytes per call": path.stat().st_size / calls,
        "open": best(lambda: lsca.open_log(path)),
    }
    found["verify"] = best(log.verify)
    for name, query in QUERIES.items():
        found[name] = best(lambda query=query: log.sql(query).fetchall())  # type: ignore[misc]
    begun = time.perf_counter()
    for _ in itertools.islice(log.records(), few):
        pass
    found["100,000 records in Python"] = (time.perf_counter() - begun) * 1000
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="measure the reader of logs")
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        found = measure(make(Path(directory), options.calls), options.calls)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"a log of {options.calls:,} calls")
    for name, value in found.items():
        print(f"  {name:<28}{value:10.1f}{'' if name == 'bytes per call' else ' ms'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
