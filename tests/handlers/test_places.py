# SPDX-License-Identifier: Apache-2.0
"""Proves that a server's thread sleeps on its caller's CPU, and that nothing but its sleep is bound to that."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

import lsca
from lsca import calls as c

CPUS = os.sched_getaffinity(0)
# Asks now from one CPU, now from another, until it is told to stop; in between everybody has gone to sleep.
PROGRAM = """
import os, sys, time
cpus = sorted(os.sched_getaffinity(0))
end, n = time.monotonic() + 30, 0
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    os.sched_setaffinity(0, {cpus[n // 8 % len(cpus)]})
    time.sleep(0.002)
    os.getppid()
    n += 1
"""


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one CPU only")
def test_only_a_sleeping_thread_is_bound(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    found: list[set[int]] = []
    asleep: list[set[int]] = []

    @lsca.on(c.getppid)
    def where(call: c.getppid) -> lsca.Verdict:
        found.append(os.sched_getaffinity(0))
        return lsca.go_on

    def watch() -> None:
        """Looks at all threads of this process until one is bound; the handler's tests go on for a while."""
        while not asleep and not stop.exists():
            for tid in os.listdir("/proc/self/task"):
                try:
                    cpus = os.sched_getaffinity(int(tid))
                except ProcessLookupError:
                    continue
                if cpus != CPUS:
                    asleep.append(cpus)
            time.sleep(0.0005)
        time.sleep(0.3)
        stop.touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        lsca.run([sys.executable, "-c", PROGRAM, stop], handlers=[where], check=True)
    finally:
        stop.touch()
        watcher.join()
    assert found and all(cpus == CPUS for cpus in found)
    assert asleep and all(len(cpus) == 1 and cpus < CPUS for cpus in asleep)
