# SPDX-License-Identifier: Apache-2.0
"""`make demo`: an echo server and a client that know nothing of LSCA, natively, in both routes, and over streams.

Builds the C programs beside this file, starts one `lsca daemon`, runs server and client natively and then as separate
`lsca run`s that join this daemon, compares what came back byte for byte, and prints a short report. Then the same with
a pair that was not written for it. Needs gcc and the standard library. Exit status 1 if anything failed or differed.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs import TRANSPORTS, Pair, free_address, own, python, socat
from running import (
    READY_SECONDS,
    RUN_SECONDS,
    Child,
    Deadline,
    DemoError,
    OutOfTime,
    capture,
    holder,
    still_there,
    wait_for_listener,
)

HERE = Path(__file__).resolve().parent
SECONDS = 55.0
NATIVE = "native"
STREAMS = "streams"  # the route kernel, and connections go through shared memory
# What the report shows of a log: the first of each, in this order.
TELLING = ("bind", "accept4", "accept", "connect", "recvfrom", "sendto", "poll", "write")


@dataclass(frozen=True)
class Executors:
    """Who completes the calls of one `lsca run`, as the daemon reports it."""

    pid: int
    proxy: int | None
    calls: Mapping[str, int]  # by route
    streams: int  # connections that went through shared memory


@dataclass(frozen=True)
class Outcome:
    """What one run of a server and its clients gave. `result` is what has to be the same in every route."""

    result: tuple[str, int, str, int]  # client's output and status, server's output and status
    mean_us: float | None
    seconds: float
    server: Executors | None = None
    client: Executors | None = None
    socket_of: int | None = None  # who holds the listening socket


@dataclass
class Setting:
    """What all steps share."""

    work: Path
    build: Path
    lsca: str
    daemon: Path
    deadline: Deadline
    failures: list[str]
    seen: set[int]  # every process that belonged to a captured program
    not_begun: int = 0

    @property
    def times(self) -> Path:
        return self.work / "times"

    def log(self, side: str, transport: str, clients: int, route: str) -> Path:
        return self.work / f"{side}-{transport}-{clients}-{route}.lsca"


def build_programs(setting: Setting) -> None:
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    for name in ("echo_server", "echo_client"):
        source, program = HERE / f"{name}.c", setting.build / name
        capture([compiler, "-O2", "-pthread", "-o", str(program), str(source)], setting.deadline)


def start_daemon(setting: Setting) -> Child:
    command = [setting.lsca, "daemon", "--socket", str(setting.daemon)]
    daemon = Child(command, setting.work / "daemon.err", setting.deadline)
    try:
        wait_for_listener(daemon, "unix", str(setting.daemon), setting.deadline)
    except DemoError:
        daemon.kill()
        raise
    return daemon


def executors(setting: Setting) -> dict[int, Executors]:
    """What the daemon knows of each run, by the pid of its `lsca run`."""
    command = [setting.lsca, "daemon", "--status", "--json", "--socket", str(setting.daemon)]
    status = json.loads(capture(command, setting.deadline))
    found = {}
    for session in status["sessions"]:
        alive = [process for process in session["processes"] if process["alive"]]
        for process in alive:
            setting.seen.update(pid for pid in (process["pid"], process["proxy"]) if pid)
        if not alive:
            continue
        calls: Counter[str] = Counter()
        for process in session["processes"]:
            calls.update(process["calls"])
        streams = session["streams"]["joined"]
        found[session["pid"]] = Executors(alive[0]["pid"], alive[0]["proxy"], calls, streams)
    return found


def run_once(setting: Setting, pair: Pair, transport: str, clients: int, route: str) -> Outcome:
    """One server, its clients, and the end of both."""
    where = free_address(transport, setting.work)
    if pair.announces and transport != "unix":
        where = "127.0.0.1:0"
    children = []

    def start(side: str, command: list[str]) -> Child:
        if route != NATIVE:
            way = ["kernel", "--streams=on"] if route == STREAMS else [route]
            joined = ["--daemon", str(setting.daemon), "--route", *way]
            log = str(setting.log(side, transport, clients, route))
            command = [setting.lsca, "run", *joined, "-o", log, "--", *command]
        child = Child(command, setting.work / f"{side}.err", setting.deadline)
        children.append(child)
        return child

    setting.times.unlink(missing_ok=True)
    try:
        server = start("server", pair.server(transport, where))
        if pair.announces:
            where = server.read_line(b"listening on ", READY_SECONDS).rpartition(" ")[2]
        inode = wait_for_listener(server, transport, where, setting.deadline)

        begun = time.monotonic()
        client = start("client", pair.client(transport, where, clients))
        if pair.keeps:
            client.read_line(b"done", RUN_SECONDS)
            seconds = time.monotonic() - begun
            known = executors(setting) if route != NATIVE else {}
            client_status = client.finish(RUN_SECONDS)
        else:
            client_status = client.finish(RUN_SECONDS)
            seconds = time.monotonic() - begun
            known = executors(setting) if route != NATIVE and transport == "tcp" else {}
        if client_status:
            raise client.failure(f"the client ended with status {client_status}")
        people = [each for each in (known.get(server.pid), known.get(client.pid)) if each]
        pids = [pid for who in people for pid in (who.pid, who.proxy) if pid]
        socket_of = holder(inode, [*pids, server.pid])
        if server.pid in known:
            expected = known[server.pid].proxy if route == "proxy" else known[server.pid].pid
            if socket_of != expected:
                raise DemoError(f"pid {socket_of} holds the listening socket, not pid {expected}")
        server_status = server.stop(RUN_SECONDS)
        left = still_there(pids, 2.0)
        if left:
            raise DemoError(f"these processes were left behind: {left}")
    finally:
        for child in children:
            child.kill()
        if transport == "unix":  # a server that was stopped may leave it
            Path(where).unlink(missing_ok=True)

    said = server.output.decode(errors="replace").replace(where, "ADDRESS")
    result = (client.output.decode(errors="replace"), client_status, said, server_status)
    return Outcome(
        result,
        mean_us(setting.times),
        seconds,
        known.get(server.pid),
        known.get(client.pid),
        socket_of,
    )


def mean_us(times: Path) -> float | None:
    if not times.exists():
        return None
    values = dict(line.split() for line in times.read_text().splitlines())
    return int(values["mean_ns"]) / 1000


def difference(native: Outcome, other: Outcome) -> str | None:
    """In words, what is not as it was natively."""
    names = (
        "the client's output",
        "the client's status",
        "the server's output",
        "the server's status",
    )
    for name, expected, got in zip(names, native.result, other.result, strict=True):
        if expected != got:
            return f"{name} differs\n    native: {str(expected)[-300:]!r}\n    here:   {str(got)[-300:]!r}"
    return None


def cell(outcome: Outcome | None, native: Outcome | None, verdict: str) -> str:
    """The time, and how many times the native one it is."""
    if outcome is None:
        return verdict
    if outcome.mean_us is None:
        return f"{verdict} {outcome.seconds:8.2f} s         "
    text = f"{verdict} {outcome.mean_us:7.1f} us"
    if native and native is not outcome and native.mean_us:
        text += f" {f'x{outcome.mean_us / native.mean_us:.2f}':<7}"
    return text


def compare(
    setting: Setting, pair: Pair, routes: Sequence[str], options: argparse.Namespace
) -> Iterator[tuple[str, int, str, Outcome]]:
    """Runs all of a pair, prints the table line by line, yields what worked."""
    unit = "time per round trip" if pair.announces else "time of the clients"
    print(f"\n{pair.title}\n  same: byte for byte and status as natively; with it the {unit}")
    print(f"  {'':<18}{NATIVE:>15}" + "".join(f"{f'{route}        ':>25}" for route in routes))
    for transport in options.transports:
        most = min(pair.most, pair.most_udp) if transport == "udp" else pair.most
        for clients in sorted({min(number, most) for number in options.clients}):
            cells, native = [], None
            for route in (NATIVE, *routes):
                outcome, verdict = None, "failed"
                try:
                    outcome = run_once(setting, pair, transport, clients, route)
                    if route == NATIVE:
                        native, verdict = outcome, ""
                    elif native:
                        wrong = difference(native, outcome)
                        verdict = "DIFFERS" if wrong else "same"
                        if wrong:
                            raise DemoError(wrong)
                    yield transport, clients, route, outcome
                except OutOfTime:
                    setting.not_begun += 1
                    verdict = "not begun"
                except DemoError as error:
                    text = f"{pair.name}, {transport}, {clients} client(s), {route}: {error}"
                    setting.failures.append(text)
                cells.append(cell(outcome, native, verdict))
            many = "1 client" if clients == 1 else f"{clients} clients"
            print(
                f"  {transport:<5}{many:<13}{cells[0]:>15}"
                + "".join(f"{c:>25}" for c in cells[1:]),
                flush=True,
            )


def show_transcript(outcome: Outcome) -> None:
    print("\nTranscript of the client (1 connection, tcp; > sent, < came back)")
    for line in outcome.result[0].splitlines():
        print(f"  {line}")
    print("and of the server")
    for line in outcome.result[2].splitlines():
        print(f"  {line}")


def show_executors(route: str, outcome: Outcome, clients: int) -> None:
    print(f"\nWho executed the calls, route {route}, {clients} client(s) over tcp")
    for side, who in (("server", outcome.server), ("client", outcome.client)):
        if who is None:
            continue
        proxy = f"proxy pid {who.proxy}" if who.proxy else "no proxy"
        calls = ", ".join(f"{count} by {name}" for name, count in who.calls.items() if count)
        print(f"  {side}: program pid {who.pid}, {proxy}; calls: {calls}")
        if route == STREAMS:
            print(f"    {who.streams} connections have joined by it: their bytes go through memory")
    if outcome.server and outcome.socket_of:
        whose = "the proxy" if outcome.socket_of == outcome.server.proxy else "the program itself"
        print(f"  /proc says that the listening socket is held by pid {outcome.socket_of}, {whose}")


def show_log(setting: Setting, route: str, clients: int) -> None:
    print(f"\nFrom the logs of these two, route {route} (lsca log FILE)")
    for side in ("server", "client"):
        log = str(setting.log(side, "tcp", clients, route))
        try:
            lines = capture([setting.lsca, "log", log], setting.deadline).splitlines()
        except DemoError as error:
            setting.failures.append(f"lsca log: {error}")
            continue
        shown = []
        for name in TELLING:
            first = next((line for line in lines if f" {name}(" in line), None)
            if first:
                shown.append((lines.index(first), first))
        print(f"  {side}: {len(lines)} lines, among them")
        for _, line in sorted(shown)[:4]:
            print(f"    {line if len(line) <= 116 else line[:113] + '...'}")


def tour(setting: Setting, options: argparse.Namespace) -> None:
    """The report: our own pair with all that can be told of it, then the other one."""
    routes: list[str] = options.routes
    pair = own(setting.build, options.messages, setting.times)
    kept = {
        (transport, clients, route): outcome
        for transport, clients, route, outcome in compare(setting, pair, routes, options)
    }
    most = max(min(number, pair.most) for number in options.clients)
    if ("tcp", 1, NATIVE) in kept:
        show_transcript(kept["tcp", 1, NATIVE])
    for route in routes:
        if ("tcp", most, route) in kept:
            show_executors(route, kept["tcp", most, route], most)
    if routes and ("tcp", most, routes[-1]) in kept:
        show_log(setting, routes[-1], most)

    if options.other == "socat" or (options.other is None and shutil.which("socat")):
        other = socat(setting.work)
    else:
        other = python()
    for _ in compare(setting, other, routes, options):
        pass


def clean_up(setting: Setting, daemon: Child | None) -> None:
    """Ends the daemon and looks whether anything was left behind."""
    if daemon:
        try:
            daemon.stop(READY_SECONDS, Deadline(READY_SECONDS))  # however late it is
        finally:
            daemon.kill()
        if setting.daemon.exists():
            setting.failures.append(f"the daemon left its socket {setting.daemon}")
    left = still_there(setting.seen, 2.0)
    if left:
        setting.failures.append(f"processes that were left behind: {left}")


def parse_options() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description="An echo server and client under LSCA.")
    parser.add_argument("--routes", type=names, default=["kernel", "proxy", STREAMS])
    parser.add_argument(
        "--transports", type=names, default=list(TRANSPORTS), metavar="tcp,udp,unix"
    )
    parser.add_argument("--clients", type=numbers, default=[1, 50], metavar="1,50")
    parser.add_argument("--messages", type=int, default=10000, help="in one run")
    parser.add_argument("--other", choices=("socat", "python"), help="the pair from elsewhere")
    parser.add_argument("--lsca", default=str(Path(sys.executable).with_name("lsca")))
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    begun = time.monotonic()
    print("An echo server and a client that know nothing of LSCA, under LSCA")
    with tempfile.TemporaryDirectory(prefix="lsca-demo-") as name:
        work = Path(name)
        setting = Setting(
            work, work, options.lsca, work / "daemon.socket", Deadline(SECONDS), [], set()
        )
        daemon = None
        try:
            build_programs(setting)
            if options.routes:
                daemon = start_daemon(setting)
                print(f"one daemon for all of it: pid {daemon.pid}")
            tour(setting, options)
        except DemoError as error:
            setting.failures.append(str(error))
        try:
            clean_up(setting, daemon)
        except DemoError as error:
            setting.failures.append(f"the daemon at its end: {error}")

    took = time.monotonic() - begun
    if setting.not_begun:
        text = f"{setting.not_begun} runs were not begun: {SECONDS:.0f} s were over"
        setting.failures.append(text)
    if setting.failures:
        print(f"\n{len(setting.failures)} FAILED, in {took:.0f} s")
        for text in setting.failures:
            print(f"  {text}")
        return 1
    print(f"\nAll of it as natively; nothing was left behind. {took:.0f} s")
    print(
        "\nTry next, in this directory:\n"
        "  .venv/bin/lsca run -o ls.lsca -- ls -l      a program of yours, with a log\n"
        "  .venv/bin/lsca log ls.lsca                  read it\n"
        "  .venv/bin/lsca run --route proxy -- bash    a shell that holds no descriptors of its own\n"
        "  .venv/bin/lsca doctor                       what this machine allows\n"
        "  make bench                                  what it costs"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
