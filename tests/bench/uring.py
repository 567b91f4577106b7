# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel's own ring would help: `python tests/bench/uring.py [SECONDS]`, ns for a write of 64 bytes.

uring.c writes to a file on the disk and to one in memory, by plain calls and by io_uring, on all CPUs and on one. LSCA
uses no io_uring; this is why. Where that is not to be had (old kernels, a sysctl, a filter) its rows are missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = sys.argv[1] if len(sys.argv) > 1 else "0.3"
TITLES = {
    "plain": "pwrite",
    "ring-1": "io_uring, one at a time",
    "ring-64": "io_uring, 64 at a time",
    "poll-1": "SQPOLL, one at a time",
    "poll-64": "SQPOLL, 64 at a time",
}


def measured(program: Path, file: Path, cpus: set[int]) -> dict[str, int]:
    """Nanoseconds a write, by way."""
    done = subprocess.run(
        [program, SECONDS, file],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    return {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}


def main() -> None:
    """Prints the table."""
    every = os.sched_getaffinity(0)
    places = {f"{len(every)} CPUs": every, "1 CPU": {min(every)}}
    with (
        tempfile.TemporaryDirectory() as disk,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        program = Path(disk) / "uring"
        compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
        subprocess.run([compiler, "-O2", "-o", program, HERE / "uring.c"], check=True)
        columns = {
            f"{what}, {place}": measured(program, Path(where) / "file", cpus)
            for what, where in (("disk", disk), ("memory", memory))
            for place, cpus in places.items()
        }
    print(f"{'':<26}" + "".join(f"{name:>18}" for name in columns))
    for way, title in TITLES.items():
        if all(way in column for column in columns.values()):
            cells = "".join(f"{column[way]:>18,}" for column in columns.values())
            print(f"{title:<26}{cells}")


if __name__ == "__main__":
    main()
