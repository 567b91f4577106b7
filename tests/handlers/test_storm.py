# SPDX-License-Identifier: Apache-2.0
"""Proves that no answer is lost, doubled or misdirected when many processes ask at the same time.

50 processes make 10,000 calls a second between them, for two seconds here; `STORM_SECONDS=60` makes it a minute.
"""

import os
from collections import Counter

import pytest

import lsca
from differential import program
from lsca import calls as c

PROCESSES = 50
RATE = 10_000
OPENS = 100  # of each process
SECONDS = int(os.environ.get("STORM_SECONDS", "2"))


@pytest.mark.timeout(60 + 5 * SECONDS)
def test_every_answer_is_its_own(route: str) -> None:
    asked: Counter[int] = Counter()
    opened: Counter[str] = Counter()

    @lsca.on(c.getpgid)
    def twice(call: c.getpgid) -> lsca.Verdict:
        asked[call.pid] += 1
        return lsca.ret(2 * call.pid + 1)

    @lsca.on(c.openat, path="/storm/*")
    def number(call: c.openat) -> lsca.Verdict:
        opened[call.path] += 1
        return lsca.ret(int(call.path.removeprefix("/storm/")) + 1000)

    calls = SECONDS * RATE // PROCESSES
    words = map(str, (PROCESSES, calls, RATE, OPENS))
    done = lsca.run(
        [program("handlers/storm.c"), *words],
        handlers=[twice, number],
        route=route,
        capture_output=True,
        text=True,
    )
    assert done.reports == []
    assert done.stdout == f"{PROCESSES * (calls + OPENS)} right, 0 wrong\n"
    assert (len(asked), set(asked.values())) == (PROCESSES * calls, {1})
    assert (len(opened), set(opened.values())) == (PROCESSES * OPENS, {1})
