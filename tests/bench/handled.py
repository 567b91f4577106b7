# SPDX-License-Identifier: Apache-2.0
"""What a rule and a handler cost: `python tests/bench/handled.py [ROUNDS [SECONDS]]`, medians in ns.

handled.c runs natively, in a session without and with handlers, under rules that only the agent looks at, and with an
empty Python function for every getppid, of the extension's or registered with `lsca.on`; round after round, on all
CPUs and on one.
"""

import errno
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import lsca
from lsca import _native
from lsca import calls as c
from lsca.rules import Ask, Return, Rule, compile_rules
from lsca.session import AGENT, PROXY

HERE = Path(__file__).resolve().parent
SECONDS = sys.argv[2] if len(sys.argv) > 2 else "0.15"
Values = dict[str, float]


def go_on(request: _native.Request) -> tuple[int, int]:
    return (0, 0)


def parsed(text: str) -> Values:
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


def captured(
    program: str,
    rules: Sequence[Rule] | None,
    serve: Callable[[_native.Request], tuple[int, int]] | None,
) -> Values:
    """One run; `rules` None: a session without handlers."""
    fd = _native.session_create(False, None, handlers=rules is not None)[0]
    with tempfile.TemporaryFile() as out:
        stdout = os.dup(1)
        os.dup2(out.fileno(), 1)
        try:
            if rules:
                _native.rules_set(fd, compile_rules(rules))
            argv = [os.fsencode(program), SECONDS.encode()]
            paths = (os.fsencode(AGENT), os.fsencode(PROXY))
            _native.run(fd, argv, [], *paths, serve=serve)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
            os.close(fd)
        out.seek(0)
        return parsed(out.read().decode())


def served(program: str) -> Values:
    """The same with a function that was registered with `lsca.on`."""
    with tempfile.TemporaryFile() as out:

        @lsca.on(c.getppid)
        def empty(call: c.getppid) -> lsca.Verdict:
            return lsca.go_on

        lsca.run([program, SECONDS], handlers=[empty], stdout=out, check=True)
        out.seek(0)
        return parsed(out.read().decode())


def ways(program: str) -> dict[str, Callable[[], Values]]:
    path = Rule(calls=("openat",), path="/tmp/**/*.wal", verdict=Return(-errno.EIO))
    data = Rule(calls=("write",), path="/data/**", verdict=Return(-errno.EIO))
    answer = Rule(calls=("getppid",), verdict=Return(1))
    ask = Rule(calls=("getppid",), verdict=Ask())
    return {
        "native": lambda: parsed(
            subprocess.run([program, SECONDS], check=True, capture_output=True, text=True).stdout
        ),
        "captured": lambda: captured(program, None, None),
        "no rules": lambda: captured(program, [], None),
        "rules": lambda: captured(program, [answer, path], None),
        "path rule": lambda: captured(program, [data], None),
        "callback": lambda: captured(program, [ask], go_on),
        "lsca.on": lambda: served(program),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/handled"
        subprocess.run(["gcc", "-O2", "-o", program, str(HERE / "handled.c")], check=True)
        every = os.sched_getaffinity(0)
        for cpus in (every, {max(every)}):
            os.sched_setaffinity(0, cpus)
            found: dict[str, dict[str, list[float]]] = {}
            for _ in range(rounds):
                for way, run in ways(program).items():
                    for name, value in run().items():
                        found.setdefault(way, {}).setdefault(name, []).append(value)
            names = list(found["native"])
            print(
                f"{len(cpus)} CPU{'s' * (len(cpus) > 1)}".ljust(10),
                *(name.rjust(11) for name in names),
            )
            for way, values in found.items():
                medians = (f"{statistics.median(values[name]):11.0f}" for name in names)
                print(way.ljust(10), *medians)
        os.sched_setaffinity(0, every)


if __name__ == "__main__":
    main()
