# SPDX-License-Identifier: Apache-2.0
"""Whole programs for bench.py: two makes, a git, a shell with many short programs, redis, PostgreSQL.

A load is prepared once and then run by turns, natively and captured. What a turn yields is the time of one unit in
nanoseconds, by key; a load whose program is not installed says so and is left out. The servers are what is measured:
their clients (redis-benchmark, pgbench) run natively every time.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Values = dict[str, float]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = "nobody"  # PostgreSQL refuses to run as root


def run(
    command: Sequence[str], cpus: frozenset[int], patience: float, cwd: Path | None = None
) -> str:
    """Standard output of a command that is kept on these CPUs; anything but success is a RuntimeError."""
    program = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    try:
        out, err = program.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.communicate()
        raise RuntimeError(f"no end after {patience:.0f} s: {' '.join(command)}") from None
    if program.returncode:
        last = err.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"status {program.returncode}, {last[0]}: {' '.join(command)}")
    return out


@contextlib.contextmanager
def server(
    command: Sequence[str], cpus: frozenset[int], answers: Callable[[], bool], end: signal.Signals
) -> Iterator[None]:
    """A server, from the moment it answers until it has ended by the signal that asks it to."""
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    try:
        deadline = time.monotonic() + 20
        while not answers():
            if program.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer: {' '.join(command)}")
            time.sleep(0.01)
        yield
        program.send_signal(end)
        program.wait(20)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the server does not end: {' '.join(command)}") from None
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


class Load:
    """One program. `needs`: what must be installed; `keys`: what a turn measures."""

    keys: tuple[str, ...]
    needs: tuple[str, ...]

    def __init__(self, quick: bool) -> None:
        self.quick = quick

    def missing(self) -> str:
        """Why it cannot be measured here; empty if it can."""
        absent = [name for name in self.needs if not shutil.which(name)]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def prepare(self, work: Path) -> None:
        """Once, natively, in a directory of its own."""
        self.work = work

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        raise NotImplementedError

    def close(self) -> None:
        """Removes what is not in its directory."""

    def timed(self, prefix: Sequence[str], cpus: frozenset[int], command: Sequence[str]) -> Values:
        """The whole time of one command, the start of lsca included."""
        start = time.perf_counter_ns()
        run([*prefix, *command], cpus, 120, self.work)
        return {self.keys[0]: time.perf_counter_ns() - start}


class Make(Load):
    """LSCA's own agent, proxy and extensions, built from nothing by two compilers at a time."""

    keys = ("make",)
    needs = ("make", "gcc")

    def prepare(self, work: Path) -> None:
        super().prepare(work)
        made = shutil.ignore_patterns("lib", "*.so", "__pycache__")
        shutil.copytree(ROOT / "native", work / "native")
        shutil.copytree(ROOT / "src", work / "src", ignore=made)
        shutil.copy(ROOT / "Makefile", work)

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        for made in ("build", "src/lsca/lib"):
            shutil.rmtree(self.work / made, ignore_errors=True)
        target = "src/lsca/lib/lsca-agent.so" if self.quick else "native"
        return self.timed(prefix, cpus, ["make", "-s", "-B", "-j2", target])


class Small(Load):
    """A tree of small files, where hardly anything is done but to start programs."""

    keys = ("small",)
    needs = ("make", "gcc")

    def prepare(self, work: Path) -> None:
        super().prepare(work)
        count = 4 if self.quick else 16
        for i in range(count):
            text = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
            text += "".join(
                f'int f{i}_{n}(int a) {{ char b[64]; snprintf(b, sizeof b, "%d", a * {n});'
                f" return atoi(b) + (int)strlen(b); }}\n"
                for n in range(20)
            )
            (work / f"part{i}.c").write_text(text)
        (work / "main.c").write_text("int f0_1(int a);\nint main(void) { return f0_1(0) != 1; }\n")
        objects = " ".join(f"part{i}.o" for i in range(count))
        rule = f"main: main.o {objects}\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
        (work / "Makefile").write_text(rule)

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        return self.timed(prefix, cpus, ["make", "-s", "-B", "-j2"])


class Git(Load):
    """A repository of some hundred files: add, commit, status, log, diff, clone."""

    keys = ("git",)
    needs = ("git",)

    def prepare(self, work: Path) -> None:
        super().prepare(work)
        source = work / "source"
        for i in range(40 if self.quick else 400):
            path = source / f"d{i % 20}" / f"file{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"line {n} of file {i}\n" for n in range(100)))
        (work / "work.sh").write_text(
            "set -e\nrm -rf repository copy\ncp -r source repository\ncd repository\ngit init -q .\n"
            "git config user.name n\ngit config user.email n@example.org\ngit add .\n"
            "git commit -q -m one\nfor n in 1 2 3 4 5; do echo $n >> d1/file1.txt; git status -s;"
            " git commit -q -a -m $n; done\ngit log --stat | wc -l\ngit diff HEAD~3 | wc -l\n"
            "git clone -q . ../copy\n"
        )

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        return self.timed(prefix, cpus, ["sh", "work.sh"])


class Shell(Load):
    """What a configure script does: many short programs, pipes and files."""

    keys = ("shell",)
    needs = ("sh", "sed", "expr")

    def prepare(self, work: Path) -> None:
        super().prepare(work)
        (work / "work.sh").write_text(
            "i=0\nwhile [ $i -lt " + ("10" if self.quick else "100") + " ]; do\n"
            '  i=$(expr $i + 1)\n  echo "int v$i;" > conf.c\n'
            "  if sed -e s/v/w/ conf.c | grep -q w$i; then mv conf.c done.c; fi\n"
            "  rm -f done.c\ndone\n"
        )

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        return self.timed(prefix, cpus, ["sh", "work.sh"])


class Redis(Load):
    """SET and GET of redis-benchmark's ten clients over a Unix socket."""

    keys = ("redis set", "redis get")
    needs = ("redis-server", "redis-benchmark")

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        path = self.work / "socket"
        path.unlink(missing_ok=True)
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        client = ["redis-benchmark", "-s", str(path), "-c", "10", "-t", "set,get", "--csv"]
        client += ["-n", "2000" if self.quick else "40000"]

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect_ex(str(path)) == 0

        with server([*prefix, "redis-server", *options], cpus, answers, signal.SIGTERM):
            out = run(client, cpus, 60)
        rates = dict(re.findall(r'^"(SET|GET)","([0-9.]+)"', out, re.M))
        return {f"redis {name.lower()}": 1e9 / float(rate) for name, rate in rates.items()}


class Postgres(Load):
    """pgbench's own transactions, reading and writing or reading only, by two clients over a Unix socket."""

    keys = ("pgbench", "pgbench -S")
    needs = ("pgbench",)
    data: Path | None = None

    def missing(self) -> str:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        self.programs = found[-1].parent if found else Path(shutil.which("postgres") or "").parent
        if not (self.programs / "initdb").exists():
            return "PostgreSQL's server is not installed"
        if os.geteuid() == 0 and not shutil.which("setpriv"):
            return "not installed: setpriv, and the server does not run as root"
        return super().missing()

    def prepare(self, work: Path) -> None:
        super().prepare(work)
        drop = ["setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups"]
        self.ordinary = drop if os.geteuid() == 0 else []
        self.data = Path(tempfile.mkdtemp(prefix="lsca-bench-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self.data, NOBODY)
        every = frozenset(os.sched_getaffinity(0))
        initdb = [str(self.programs / "initdb"), "-A", "trust", "-U", NOBODY, "--no-sync", "-D"]
        run([*self.ordinary, *initdb, f"{self.data}/db"], every, 60, self.data)
        with self.running((), every):
            run([*self.client(), "-i", "-q", "-s", "1", "postgres"], every, 60)

    def client(self) -> list[str]:
        return ["pgbench", "-h", str(self.data), "-U", NOBODY]

    def running(
        self, prefix: Sequence[str], cpus: frozenset[int]
    ) -> contextlib.AbstractContextManager[None]:
        options = ["-D", f"{self.data}/db", "-k", str(self.data), "-F", "-c", "listen_addresses="]
        command = [*prefix, *self.ordinary, str(self.programs / "postgres"), *options]
        ask = [str(self.programs / "pg_isready"), "-q", "-h", str(self.data)]

        def answers() -> bool:
            return subprocess.run(ask, capture_output=True).returncode == 0

        return server(command, cpus, answers, signal.SIGINT)

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        values = {}
        seconds = "1" if self.quick else "2"
        with self.running(prefix, cpus):
            for key, more in (("pgbench", []), ("pgbench -S", ["-S"])):
                command = [*self.client(), "-n", "-c", "2", "-T", seconds, *more, "postgres"]
                out = run(command, cpus, 60)
                rate = re.search(r"^tps = ([0-9.]+)", out, re.M)
                values[key] = 1e9 / float(rate[1]) if rate else 0
        return values

    def close(self) -> None:
        if self.data:
            shutil.rmtree(self.data, ignore_errors=True)


LOADS: tuple[type[Load], ...] = (Make, Small, Git, Shell, Redis, Postgres)
