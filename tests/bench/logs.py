# SPDX-License-Identifier: Apache-2.0
"""What the log costs, for bench.py: a call natively, captured, captured with a log, under strace and under perf trace,
by one thread on one CPU and by two on two; how fast the drainer is; and how large a log becomes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from loads import Small, run

import lsca

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
CALLS = (("getppid", "getppid"), ("read", "read 1 byte"), ("open", "openat + close"))
AIM_ADDED_NS, AIM_RATE, AIM_BYTES = 35, 5_000_000, 30
Ways = dict[str, tuple[str, ...]]
Row = dict[str, object]


def compile_native(name: str, sources: Sequence[str], into: Path) -> Path:
    """One of the programs here that contain parts of LSCA."""
    machine = NATIVE / "shared/arch" / os.uname().machine
    include = [NATIVE, NATIVE / "shared", machine, NATIVE / "log", *NATIVE.glob("daemon/*/")]
    command = ["gcc", "-std=gnu11", "-O2", "-pthread", "-D_GNU_SOURCE="]
    command += [f"-I{path}" for path in include]
    files = [HERE / f"{name}.c", *(NATIVE.parent / source for source in sources)]
    subprocess.run([*command, "-o", str(into / name), *map(str, files)], check=True, timeout=60)
    return into / name


def ways(command: Path, work: Path) -> Ways:
    """Native first; perf trace only where it may look."""
    captured = (str(command), "run", "--no-daemon")
    found: Ways = {
        "native": (),
        "kernel": (*captured, "--"),
        "kernel, log": (*captured, "-o", str(work / "calls.lsca"), "--"),
    }
    if strace := shutil.which("strace"):
        found["strace"] = (strace, "-f", "-o", "/dev/null")
    if perf := shutil.which("perf"):
        trace = (perf, "trace", "-o", "/dev/null")
        if not subprocess.run([*trace, "true"], capture_output=True).returncode:
            found["perf trace"] = trace
    return found


def measure_calls(
    all_ways: Ways, work: Path, rounds: int, seconds: float
) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Title of the place, and by call and way the median of the rounds in nanoseconds."""
    allowed = sorted(os.sched_getaffinity(0))
    for threads in (1, 2)[: len(allowed)]:
        values: dict[str, dict[str, list[float]]] = {key: {} for key, _ in CALLS}
        for _ in range(rounds):
            for way, prefix in all_ways.items():
                command = [*prefix, str(work / "calls"), str(seconds), str(work / "file")]
                out = run([*command, str(threads)], frozenset(allowed[:threads]), 60)
                for line in out.splitlines():
                    key, value = line.split()
                    if key in values:
                        values[key].setdefault(way, []).append(float(value))
        found = {
            key: {way: median(all_values) for way, all_values in by_way.items()}
            for key, by_way in values.items()
        }
        yield f"{threads} thread{'s' * (threads > 1)}", found


def drained(work: Path, quick: bool) -> tuple[float, float]:
    """Records per second of one CPU, and bytes of file per record."""
    program = compile_native("drained", [f"build/gen/calls_{os.uname().machine}.c"], work)
    cpu = frozenset(sorted(os.sched_getaffinity(0))[:1])
    out = run([str(program), str(work / "drained.lsca"), "0.2" if quick else "2"], cpu, 60)
    (work / "drained.lsca").unlink()
    rate, size = (float(line.split()[1]) for line in out.splitlines())
    return rate, size


def size_of_a_build(command: Path, work: Path, quick: bool) -> tuple[int, float]:
    """Records that make -j2 of a small tree leaves, and bytes of the log per record."""
    load = Small(quick)
    where = work / "logged"
    where.mkdir()
    load.prepare(where)
    log = work / "make.lsca"
    load.turn(
        (str(command), "run", "--no-daemon", "-o", str(log), "--"),
        frozenset(os.sched_getaffinity(0)),
    )
    records = lsca.open_log(log).verify().records
    return records, log.stat().st_size / records


def verdict(value: float, aim: float, more: bool = False) -> str:
    return "met" if (value >= aim if more else value <= aim) else "not met"


def measure(command: Path, work: Path, quick: bool, rows: list[Row]) -> Iterator[str]:
    """The lines of the table; `rows` gets what goes into bench.json."""
    all_ways = ways(command, work)
    added: list[tuple[str, float]] = []
    for place, found in measure_calls(all_ways, work, 2 if quick else 5, 0.03 if quick else 0.15):
        yield ""
        yield f"the log, {place:<23}{'':4}" + "".join(f"{way:>18}" for way in all_ways)
        for key, title in CALLS:
            times = found[key]
            cells = "".join(f"{value:>18,.0f}" for value in times.values())
            yield f"{title:<32}{'ns':>4}{cells}"
            for way, value in list(times.items())[1:]:
                ratio = round(value / times["native"], 3)
                row: Row = {"name": f"{title}, {way}, {place}", "unit": "ns"}
                rows.append(row | {"native": times["native"], "value": value, "ratio": ratio})
        added.append((place, found["getppid"]["kernel, log"] - found["getppid"]["kernel"]))
    yield ""
    for place, more in added:
        title = f"what a log adds to getppid, {place}"
        yield f"{title:<44} aim {AIM_ADDED_NS:>6} ns   now {more:>7.1f} ns   {verdict(more, AIM_ADDED_NS)}"
    rate, size = drained(work, quick)
    text = verdict(rate, AIM_RATE, more=True)
    yield f"{'records drained by one CPU':<44} aim {AIM_RATE / 1e6:>6.0f} M/s  now {rate / 1e6:>7.1f} M/s  {text}"
    records, size = size_of_a_build(command, work, quick)
    text = verdict(size, AIM_BYTES)
    title = f"bytes per record of make -j2 ({records:,} records)"
    yield f"{title:<44} aim {AIM_BYTES:>6} B    now {size:>7.1f} B    {text}"
