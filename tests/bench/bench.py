# SPDX-License-Identifier: Apache-2.0
"""`make bench`: what a call costs natively, in the routes `kernel` and `proxy`, and under strace; and whole programs.

The small C programs beside this file measure; this one runs them in turn, native, kernel, proxy, strace, round
after round, on one CPU and on two, takes the medians of the rounds, prints a table and writes bench.json. Then comes
what the log costs (logs.py) and what streams are worth (streams.py). The programs of loads.py follow, natively and in
the route `kernel` without and with a log. It judges nothing: no time makes it fail, only a program that does not run.
How to read the numbers: docs/bench.md.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import logs
import posts
from loads import LOADS, Load, run

import streams

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NATIVE = "native"


@dataclass(frozen=True)
class Way:
    """One way to run a program: its name in the table and what stands before the program's name."""

    name: str
    prefix: tuple[str, ...]


@dataclass(frozen=True)
class Effort:
    rounds: int
    seconds: float  # for each kind of call, and for the echo
    spawns: int
    starts: int


@dataclass(frozen=True)
class Measure:
    """One line of the table. `key` is what the C program prints; values arrive in ns and are divided by `scale`."""

    key: str
    title: str
    unit: str
    scale: float


@dataclass(frozen=True)
class Place:
    """Where everything of a run is kept, program and proxy alike."""

    name: str
    cpus: frozenset[int]


@dataclass
class Results:
    """Values by (measure, place, way), one per round, and what went wrong."""

    values: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # way -> reason

    def add(self, key: str, place: str, way: str, value: float) -> None:
        self.values.setdefault((key, place, way), []).append(value)

    def median(self, key: str, place: str, way: str) -> float | None:
        found = self.values.get((key, place, way))
        return statistics.median(found) if found else None


FULL = Effort(rounds=5, seconds=0.15, spawns=30, starts=7)
QUICK = Effort(rounds=2, seconds=0.03, spawns=8, starts=3)

MEASURES = (
    Measure("getppid", "getppid", "ns", 1),
    Measure("getpid", "getpid", "ns", 1),
    Measure("write", "write 1 byte to /dev/null", "ns", 1),
    Measure("read", "read 1 byte of /dev/zero", "ns", 1),
    Measure("open", "open + close", "ns", 1),
    Measure("echo", "TCP echo of 64 bytes", "us", 1e3),
    Measure("spawn", "start `true` from inside", "us", 1e3),
    Measure("fork", "fork, exit, wait", "us", 1e3),
    Measure("thread", "thread, end, join", "us", 1e3),
    Measure("start", "start `true` from outside", "ms", 1e6),
)

PROGRAMS = (
    Measure("make", "make -j2 of LSCA's native code", "ms", 1e6),
    Measure("small", "make -j2 of 16 small files", "ms", 1e6),
    Measure("git", "git: a small repository's life", "ms", 1e6),
    Measure("shell", "sh with 500 short programs", "ms", 1e6),
    Measure("redis set", "redis: one SET of 10 clients", "us", 1e3),
    Measure("redis get", "redis: one GET of 10 clients", "us", 1e3),
    Measure("pgbench", "PostgreSQL: one transaction", "us", 1e3),
    Measure("pgbench -S", "PostgreSQL: one SELECT", "us", 1e3),
)

PARTS_OF_LSCA = ("drained", "log_calls")  # built by who wants them
LOG, POST, STREAMS = "log", "post", "streams"

# What to run for which of the first measures.
CALLS = ("getppid", "getpid", "write", "read", "open")
FORKS = ("fork", "thread")


def build(into: Path) -> None:
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    for source in sorted(HERE.glob("*.c")):
        if source.stem in PARTS_OF_LSCA:
            continue
        command = [compiler, "-O2", "-pthread", "-o", str(into / source.stem), str(source)]
        subprocess.run(command, check=True, timeout=60)


def ways(lsca: Path, log: Path | None) -> list[Way]:
    """Native first: everything else is compared with it."""
    kept = ("-o", str(log)) if log else ()
    found = [Way(NATIVE, ())]
    for route in ("kernel", "proxy"):
        # What a call costs by its route; what connections gain by streams is measured for itself.
        command = (str(lsca), "run", "--no-daemon", "--streams=off", "--route", route, *kept, "--")
        found.append(Way(route, command))
    strace = shutil.which("strace")
    if strace:
        found.append(Way("strace", (strace, "-f", "-o", "/dev/null")))
    return found


def places() -> list[Place]:
    allowed = sorted(os.sched_getaffinity(0))
    found = [Place("1 CPU", frozenset(allowed[:1]))]
    if len(allowed) > 1:
        found.append(Place("2 CPUs", frozenset(allowed[:2])))
    return found


def parse(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        name, value = line.split()
        yield name, float(value)


def one_turn(
    way: Way, place: Place, work: Path, effort: Effort, wanted: frozenset[str], results: Results
) -> None:
    """The measures of one way in one place, once."""
    seconds = str(effort.seconds)
    true = shutil.which("true") or "true"  # by its path: in PATH it would be searched for
    inside = (
        (CALLS, [str(work / "calls"), seconds, str(work / "file")]),
        (("echo",), [str(work / "echo"), seconds]),
        (("spawn",), [str(work / "spawn"), str(effort.spawns), true]),
        (FORKS, [str(work / "forks"), str(effort.spawns)]),
    )
    for keys, command in inside:
        if wanted.isdisjoint(keys):
            continue
        for name, value in parse(run([*way.prefix, *command], place.cpus, patience=60)):
            results.add(name, place.name, way.name, value)
    # From outside: the clock stands beside the whole run, the start of lsca or strace itself included.
    outside = [str(work / "spawn"), str(effort.starts), *way.prefix, true]
    if "start" in wanted:
        for _, value in parse(run(outside, place.cpus, patience=60)):
            results.add("start", place.name, way.name, value)


def tell(text: str) -> None:
    """Where we are, for somebody who watches."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}\r", end="", file=sys.stderr, flush=True)


def measure(
    effort: Effort,
    work: Path,
    all_ways: Sequence[Way],
    where: Sequence[Place],
    wanted: frozenset[str],
    results: Results,
) -> None:
    for number in range(effort.rounds):
        for place in where:
            for way in all_ways:
                if way.name in results.failures:
                    continue
                tell(f"round {number + 1} of {effort.rounds}, {place.name}, {way.name}")
                try:
                    one_turn(way, place, work, effort, wanted, results)
                except RuntimeError as error:
                    results.failures[way.name] = str(error)
    tell("")


def measure_program(
    load: Load, rounds: int, all_ways: Sequence[Way], place: Place, results: Results
) -> None:
    """Round after round, each time in another order: who comes first may find the machine in another state."""
    for number in range(rounds):
        for i in range(len(all_ways)):
            way = all_ways[(i + number) % len(all_ways)]
            tell(f"{load.keys[0]}, round {number + 1} of {rounds}, {way.name}")
            for key, value in load.turn(way.prefix, place.cpus).items():
                results.add(key, place.name, way.name, value)
    tell("")


def measure_programs(
    work: Path,
    options: argparse.Namespace,
    all_ways: Sequence[Way],
    place: Place,
    results: Results,
) -> Iterator[str]:
    """Yields why a program is left out."""
    for kind in LOADS:
        if options.wanted.isdisjoint(kind.keys):
            continue
        load = kind(options.quick)
        if reason := load.missing():
            yield f"{load.keys[0]} is left out: {reason}"
            continue
        here = work / kind.__name__
        here.mkdir()
        try:
            load.prepare(here)
            measure_program(load, 1 if options.quick else 5, all_ways, place, results)
        except RuntimeError as error:
            results.failures[load.keys[0]] = str(error)
        finally:
            load.close()


def rows(
    results: Results,
    measures: Sequence[Measure],
    all_ways: Sequence[Way],
    where: Sequence[Place],
) -> list[dict[str, object]]:
    """The content of bench.json: one row for each value that has a native one to be compared with."""
    found: list[dict[str, object]] = []
    for item in measures:
        for place in where:
            native = results.median(item.key, place.name, NATIVE)
            for way in all_ways[1:]:
                value = results.median(item.key, place.name, way.name)
                if native is None or value is None:
                    continue
                found.append(
                    {
                        "name": f"{item.title}, {way.name}, {place.name}",
                        "unit": item.unit,
                        "native": round(native / item.scale, 3),
                        "value": round(value / item.scale, 3),
                        "ratio": round(value / native, 3),
                    }
                )
    return found


def table(
    results: Results,
    measures: Sequence[Measure],
    all_ways: Sequence[Way],
    where: Sequence[Place],
) -> Iterator[str]:
    for place in where:
        shown = [m for m in measures if results.median(m.key, place.name, NATIVE) is not None]
        if not shown:
            continue
        yield ""
        head = f"on {place.name} ({', '.join(map(str, sorted(place.cpus)))})"
        yield f"{head:<32}{'':4}" + "".join(f"{way.name:>18}" for way in all_ways)
        for item in shown:
            native = results.median(item.key, place.name, NATIVE)
            cells = []
            for way in all_ways:
                value = results.median(item.key, place.name, way.name)
                if value is None:
                    cells.append("-")
                    continue
                text = f"{value / item.scale:,.{0 if item.unit == 'ns' else 1}f}"
                if way.name != NATIVE and native:
                    ratio = value / native
                    text += f" {f'x{ratio:.2f}' if ratio < 10 else f'x{ratio:.1f}':>7}"
                cells.append(text)
            yield f"{item.title:<32}{item.unit:>4}" + "".join(f"{cell:>18}" for cell in cells)


def targets(results: Results) -> Iterator[str]:
    """The project's first aims, beside what was measured; for reading, nothing fails by them."""

    def more(place: str, key: str = "write", way: str = "proxy") -> float | None:
        native = results.median(key, place, NATIVE)
        value = results.median(key, place, way)
        return None if native is None or value is None else value - native

    start = results.median("start", "2 CPUs", "kernel")
    aims = (
        ("proxy write above native, 2 CPUs", more("2 CPUs"), 0.5, "us", 1e3),
        ("proxy write above native, 1 CPU", more("1 CPU"), 5.0, "us", 1e3),
        ("spawn above native, kernel, 1 CPU", more("1 CPU", "spawn", "kernel"), 0.6, "ms", 1e6),
        ("spawn above native, kernel, 2 CPUs", more("2 CPUs", "spawn", "kernel"), 0.6, "ms", 1e6),
        ("start `true` from outside, kernel, 2 CPUs", start, 60.0, "ms", 1e6),
    )
    yield ""
    for title, value, limit, unit, scale in aims:
        if value is not None:
            verdict = "met" if value / scale <= limit else "not met"
            yield f"{title:<44} aim {limit:>5} {unit}   now {value / scale:>6.2f} {unit}   {verdict}"


def describe(work: Path, where: Sequence[Place], log: bool) -> Iterator[str]:
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    yield f"{model}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    if len(where) > 1:
        first, second = sorted(where[1].cpus)
        try:
            pair = run([str(work / "bounce"), str(first), str(second)], where[1].cpus, 20)
        except RuntimeError as error:
            yield f"CPUs {first} and {second}: {error}"
        else:
            yield f"CPUs {first} and {second}: {pair.split()[1]} ns for a round trip in shared memory"
    else:
        yield "only one CPU is allowed here: nothing is measured on two"
    yield f"routes kernel and proxy {'write' if log else 'write no'} log; strace writes to /dev/null"


def program_targets(results: Results, all_ways: Sequence[Way], place: Place) -> Iterator[str]:
    """Five per cent for each whole program."""
    for item in PROGRAMS:
        native = results.median(item.key, place.name, NATIVE)
        for way in all_ways[1:]:
            value = results.median(item.key, place.name, way.name)
            if native and value:
                more = (value / native - 1) * 100
                title, verdict = f"{item.key}, {way.name}", "met" if more <= 5 else "not met"
                yield f"{title:<44} aim     5 %    now {more:>6.1f} %    {verdict}"


def choose(text: str) -> frozenset[str]:
    """Keys of measures, for argparse; `programs` is whole programs, `log`, `post` and `streams` are themselves,
    `calls` is all else.
    """
    first, second = {m.key for m in MEASURES}, {m.key for m in PROGRAMS}
    chosen: set[str] = set()
    for word in filter(None, text.split(",")):
        found = {
            k for k in {LOG, POST, STREAMS} | first | second if k == word or k.split()[0] == word
        }
        found |= first if word == "calls" else second if word == "programs" else set()
        if not found:
            known = ", ".join([LOG, POST, STREAMS, *(m.key for m in MEASURES + PROGRAMS)])
            raise argparse.ArgumentTypeError(f"{word}: there are calls, programs, {known}")
        chosen |= found
    return frozenset(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure LSCA against the kernel and strace.")
    chosen = {"type": choose, "metavar": "KEY,..."}
    parser.add_argument(
        "--only", default=choose("calls,log,post,streams,programs"), dest="wanted", **chosen
    )
    parser.add_argument("--without", default=frozenset(), **chosen)
    parser.add_argument("--quick", action="store_true", help="few rounds, short ones: a smoke test")
    parser.add_argument("--log", action="store_true", help="the routes write a log (-o) as well")
    parser.add_argument("--output", type=Path, default=ROOT / "bench.json", metavar="FILE")
    parser.add_argument("--lsca", type=Path, default=Path(sys.executable).with_name("lsca"))
    options = parser.parse_args()
    options.wanted -= options.without

    with tempfile.TemporaryDirectory(prefix="lsca-bench-") as name:
        work = Path(name)
        build(work)
        (work / "file").touch()
        all_ways = ways(options.lsca, work / "log" if options.log else None)
        log_ways = [*ways(options.lsca, None)[:2]]
        log_ways.append(Way("kernel, log", ways(options.lsca, work / "log")[1].prefix))
        where = places()
        for line in describe(work, where, options.log):
            print(line, flush=True)
        results = Results()
        if not options.wanted.isdisjoint(m.key for m in MEASURES):
            effort = QUICK if options.quick else FULL
            measure(effort, work, all_ways, where, options.wanted, results)
        of_others: list[logs.Row] = []
        for key, other in ((LOG, logs.measure), (POST, posts.measure), (STREAMS, streams.measure)):
            if key not in options.wanted:
                continue
            try:
                for line in other(options.lsca, work, options.quick, of_others):
                    print(line, flush=True)
            except RuntimeError as error:
                results.failures[key] = str(error)
        left_out = [*measure_programs(work, options, log_ways, where[-1], results)]

    calls = [m for m in MEASURES if m.key in options.wanted]
    for line in (*table(results, calls, all_ways, where), *targets(results)):
        print(line)
    for line in table(results, PROGRAMS, log_ways, where[-1:]):
        print(line)
    print(*program_targets(results, log_ways, where[-1]), *left_out, sep="\n")
    if "strace" not in {way.name for way in all_ways}:
        print("\nstrace is not installed: no column for it")
    written = rows(results, calls, all_ways, where)
    written += of_others + rows(results, PROGRAMS, log_ways, where[-1:])
    options.output.write_text(json.dumps(written, indent=1) + "\n")
    print(f"\nmedians of the rounds; written to {options.output}")
    for way_name, reason in results.failures.items():
        print(f"FAILED: {way_name}: {reason}", file=sys.stderr)
    return 1 if results.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
