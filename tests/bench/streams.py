# SPDX-License-Identifier: Apache-2.0
"""What streams are worth, for bench.py: the same pair of programs by the kernel's sockets and pipes and, captured with
--streams=on, through shared memory; round by round, on one CPU and on two. By itself: `python streams.py [ROW...]`.

The C programs are pair.c, many.c and pipeline.c; whole servers and their clients are in served.py. A row says how many
times as fast streams are, and the aim; a row without an aim of its own shall not be slower than the kernel by a tenth.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rivals
from loads import run
from quota import Quota
from served import SERVED, Served
from turns import ONE, TWO, Found, Row, in_turn, parsed, places

HERE = Path(__file__).resolve().parent
NATIVE, STREAMS = "native", "streams"
PATIENCE = 40
NO_WORSE = 1 / 1.1
HALVES = {ONE: 0.5, TWO: 0.5}  # what the rule of waiting promises, whoever else wants the CPU
Aims = Mapping[int, float]  # how many times as fast, by the number of CPUs


@dataclass(frozen=True)
class Case:
    """A line of the table: what to run, which of the printed values it is, and where it is worth to be looked at."""

    key: str
    title: str
    command: tuple[str, ...]  # with SECONDS in it, or LONGER
    value: str
    unit: str = "us"
    aims: Aims = field(default_factory=dict)
    cpus: tuple[int, ...] = (ONE, TWO)
    has_quota: bool = False  # it runs where half a CPU may be used


def echo(link: str, title: str, one: float, two: float) -> Case:
    command = ("pair", "echo", link, "SECONDS")
    return Case(
        f"echo {link}", f"echo of 64 bytes, {title}", command, "echo", aims={1: one, 2: two}
    )


def chunks(link: str, title: str, size: int, aim: float) -> Case:
    return Case(
        f"chunks {link} {size}",
        f"chunks of {size // 1024} KiB, {title}",
        ("pair", "chunks", link, "SECONDS", str(size)),
        "chunk",
        aims={ONE: aim, TWO: aim},
    )


def sparse(link: str, title: str, percent: str) -> Case:
    name = f"one message a ms, {title}, {percent}"
    command = ("pair", "sparse", link, "LONGER")
    return Case(f"sparse {link} {percent}", name, command, percent, aims={ONE: 1, TWO: 1})


CASES = (
    echo("tcp", "TCP", 4, 100),
    echo("unix", "Unix socket", 3, 60),
    echo("socketpair", "socketpair", 3, 60),
    echo("pipe", "two pipes", 1.6, 50),
    Case(
        "requests",
        "50 connections, epoll, 64 bytes",
        ("many", "requests", "50", "SECONDS"),
        "request",
        aims={ONE: 30, TWO: 30},
    ),
    chunks("tcp", "TCP", 65536, 1.5),
    chunks("tcp", "TCP", 1024, 5),
    chunks("pipe", "pipe", 65536, NO_WORSE),
    chunks("pipe", "pipe", 1024, NO_WORSE),
    sparse("tcp", "TCP", "p50"),
    sparse("tcp", "TCP", "p99"),
    sparse("pipe", "two pipes", "p50"),
    sparse("pipe", "two pipes", "p99"),
    Case(
        "pipeline bytes",
        "64 KiB through head | cat | cat | wc",
        ("pipeline", "bytes", "SECONDS"),
        "bytes",
        aims={ONE: 1.5, TWO: 1.5},
    ),
    Case(
        "pipeline lines",
        "a line through seq | grep | wc",
        ("pipeline", "lines", "SECONDS"),
        "lines",
    ),
    *(
        Case(
            f"busy {link}",
            f"echo, {title}, CPU is wanted",
            ("pair", "busy", link, "SECONDS"),
            "echo",
            aims=HALVES,
            cpus=(ONE,),
        )
        for link, title in (("tcp", "TCP"), ("pipe", "two pipes"))
    ),
    Case("four tcp", "echo, four pairs at a time, TCP", ("pair", "four", "tcp", "SECONDS"), "four"),
    Case("four pipe", "echo, four pairs, pipes", ("pair", "four", "pipe", "SECONDS"), "four"),
    *(
        Case(
            f"eight {link}",
            f"echo, eight pairs, {title}",
            ("pair", "eight", link, "SECONDS"),
            "eight",
            aims=HALVES,
        )
        for link, title in (("tcp", "TCP"), ("pipe", "pipes"))
    ),
    Case(
        "quota",
        "echo, TCP, a quota of half a CPU",
        ("pair", "mean", "tcp", "LONGER"),
        "echo",
        aims=HALVES,
        has_quota=True,
    ),
    Case(
        "idle",
        "echo, TCP, a peer of SCHED_IDLE",
        ("pair", "idle", "tcp", "SECONDS"),
        "echo",
        aims=HALVES,
    ),
    Case(
        "stop",
        "from SIGCONT to the answer, TCP",
        ("pair", "stop", "tcp", "20"),
        "stop",
        aims=HALVES,
    ),
    *(
        Case(
            f"connect {trips}",
            f"connect, {trips} round trips, close",
            ("many", "connect", str(trips), "SECONDS"),
            "connect",
        )
        for trips in (1, 3, 10)
    ),
    Case("kill", "a killed peer is seen", ("pair", "kill", "tcp", "5"), "kill"),
)
KEYS = tuple(case.key for case in CASES)
OTHERS = ("facts", "rivals")


def captured(lsca: Path) -> tuple[str, ...]:
    return (str(lsca), "run", "--no-daemon", "--streams=on", "--")


def compile_pairs(into: Path) -> None:
    for name in ("pair", "many", "pipeline"):
        compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
        command = [compiler, "-O2", "-o", str(into / name), str(HERE / f"{name}.c")]
        subprocess.run(command, check=True, timeout=60)


def measure_cases(
    found: Found,
    ways: Mapping[str, tuple[str, ...]],
    work: Path,
    wanted: Sequence[str],
    quick: bool,
    quota: Quota,
) -> None:
    """Values that one program prints together are taken from one run of it."""
    together: dict[tuple[str, ...], list[Case]] = {}
    for case in CASES:
        if case.key in wanted and not (case.has_quota and quota.missing):
            together.setdefault(case.command, []).append(case)
    for command, cases in together.items():
        words = (
            {"SECONDS": "0.03", "LONGER": "0.03"} if quick else {"SECONDS": "0.2", "LONGER": "0.6"}
        )
        within = quota.prefix if cases[0].has_quota else ()
        program = [str(work / command[0]), *(words.get(word, word) for word in command[1:])]
        for cpus, place in places().items():
            keys = {case.value: case.key for case in cases if cpus in case.cpus}

            def measure(
                prefix: tuple[str, ...],
                program: list[str] = program,
                within: tuple[str, ...] = within,
                place: frozenset[int] = place,
            ) -> Mapping[str, float]:
                return parsed(run([*within, *prefix, *program], place, PATIENCE))

            if not keys:
                continue
            try:
                in_turn(found, ways, cpus, keys, measure, 1 if quick else 5)
            except RuntimeError as error:
                found.failures.append(f"{', '.join(keys.values())}, {cpus} CPUs: {error}")


def measure_served(
    found: Found,
    ways: Mapping[str, tuple[str, ...]],
    work: Path,
    wanted: Sequence[str],
    quick: bool,
) -> Iterator[str]:
    """Yields why a server is left out."""
    for kind in SERVED:
        load = kind(work / kind.__name__, work, quick)
        if not any(key in wanted for key in load.titles):
            continue
        if reason := load.missing():
            yield f"{', '.join(load.titles)} left out: {reason}"
            continue
        try:
            load.prepare()
            for cpus, place in places().items():

                def measure(
                    prefix: tuple[str, ...], load: Served = load, place: frozenset[int] = place
                ) -> Mapping[str, float]:
                    return load.turn(prefix, place)

                keys = {key: key for key in load.titles if key in wanted}
                in_turn(found, ways, cpus, keys, measure, 1 if quick else 3)
        except RuntimeError as error:
            found.failures.append(f"{', '.join(load.titles)}: {error}")
        finally:
            load.close()


def line(
    found: Found, key: str, title: str, unit: str, aims: Aims, cpus: int, rows: list[Row]
) -> Iterator[str]:
    native, value = (found.median(key, cpus, way) for way in (NATIVE, STREAMS))
    if not native or not value:
        return
    scale = 1 if unit == "ns" else 1e3
    faster, aim = native / value, aims.get(cpus, NO_WORSE)
    verdict = "met" if faster >= aim else "not met"
    yield (
        f"{title:<40}{unit:>3}{native / scale:>12,.2f}{value / scale:>12,.2f}"
        f"{faster:>9.2f} x   aim {aim:>6.2f} x   {verdict}"
    )
    where = f"{cpus} CPU{'s' * (cpus > 1)}"
    row: Row = {"name": f"{title}, {STREAMS}, {where}", "unit": unit}
    row |= {"native": round(native / scale, 3), "value": round(value / scale, 3)}
    rows.append(row | {"ratio": round(value / native, 5)})


def counted(prefix: Sequence[str], program: Path, link: str) -> float | None:
    """System calls of a round trip, both ends together, by the kernel's count; None: it may not be asked."""
    perf = shutil.which("perf")
    if not perf:
        return None
    counts = []
    few, many = 2000, 22000
    for trips in (few, many):
        command = [perf, "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", *prefix]
        command += [str(program), "count", link, str(trips)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        lines = [text for text in done.stderr.splitlines() if "raw_syscalls" in text]
        if done.returncode or not lines or not lines[-1].split(",")[0].isdigit():
            return None
        counts.append(int(lines[-1].split(",")[0]))
    return (counts[1] - counts[0]) / (many - few)


def facts(prefix: tuple[str, ...], work: Path, found: Found) -> Iterator[str]:
    """What is no time: calls, memory, CPU of connections that say nothing."""
    yield ""
    for link in ("tcp", "pipe"):
        cells = [counted(way, work / "pair", link) for way in ((), prefix)]
        if None in cells:
            yield f"system calls of a round trip, {link}: not counted, perf is missing or may not look"
            continue
        yield f"{f'system calls of a round trip, {link}':<44}native {cells[0]:>7.3f}   streams {cells[1]:>7.3f}"
    every = frozenset(os.sched_getaffinity(0))
    for title, command, unit, scale in (
        ("CPU of 50 connections that say nothing", ("idle", "50", "1"), "us/s", 1),
        ("memory of a connection, both ends", ("memory", "20"), "KiB", 1024),
    ):
        try:
            values = [
                parsed(run([*way, str(work / "many"), *command], every, PATIENCE))
                for way in ((), prefix)
            ]
        except RuntimeError as error:
            found.failures.append(f"{title}: {error}")
            continue
        for name in values[0]:
            native, streams = (each[name] / scale for each in values)
            text = f"{title}, three seconds later" if name == "after" else title
            yield f"{text:<54}native {native:>9.1f}   streams {streams:>9.1f} {unit}"


def measure(
    lsca: Path, work: Path, quick: bool, rows: list[Row], wanted: Sequence[str] | None = None
) -> Iterator[str]:
    """The lines of the table; `rows` gets what goes into bench.json. What did not run is a RuntimeError at the end."""
    found = Found()
    ways = {NATIVE: (), STREAMS: captured(lsca)}
    titles = {key: title for kind in SERVED for key, title in kind.titles.items()}
    chosen = tuple(wanted or (*KEYS, *titles, *OTHERS))
    compile_pairs(work)
    quota = Quota()
    try:
        measure_cases(found, ways, work, chosen, quick, quota)
    finally:
        quota.close()
    left_out = [*measure_served(found, ways, work, chosen, quick)]
    if quota.missing and "quota" in chosen:
        left_out.append(f"quota left out: {quota.missing}")
    for cpus in places():
        yield ""
        yield f"{f'streams, {cpus} CPU' + 's' * (cpus > 1):<43}{NATIVE:>12}{STREAMS:>12}{'faster':>11}"
        for case in CASES:
            yield from line(found, case.key, case.title, case.unit, case.aims, cpus, rows)
        for kind in SERVED:
            for key, title in kind.titles.items():
                yield from line(found, key, title, "us", kind.aims.get(key, {}), cpus, rows)
    if "facts" in chosen:
        yield from facts(captured(lsca), work, found)
    if "rivals" in chosen:
        yield from rivals.measure(captured(lsca), work, quick, rows)
    yield from left_out
    if found.failures:
        raise RuntimeError("; ".join(found.failures))


def main() -> int:
    known = [*KEYS, *(key for kind in SERVED for key in kind.titles), *OTHERS]
    parser = argparse.ArgumentParser(description="Streams against the kernel's sockets and pipes.")
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"or its first words: {', '.join(known)}"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--lsca", type=Path, default=Path(sys.executable).with_name("lsca"))
    options = parser.parse_args()
    wanted = [key for key in known if any(f"{key} ".startswith(f"{r} ") for r in options.rows)]
    if options.rows and not wanted:
        parser.error(f"there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="lsca-bench-") as name:
        try:
            for text in measure(options.lsca, Path(name), options.quick, [], wanted or None):
                print(text, flush=True)
        except RuntimeError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
