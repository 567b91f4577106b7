# SPDX-License-Identifier: Apache-2.0
"""A cgroup with a limit of CPU time, for streams.py: what waits by spinning spends what it would need to work."""

import contextlib
import os
from pathlib import Path

PERIOD = 100_000  # us
SLICE = 50_000  # of each period, all CPUs together


class Quota:
    """`missing`: why there is none. `prefix`: words before a command that is to run in it."""

    def __init__(self) -> None:
        self.missing = "no cgroup for CPU time may be made here"
        self.prefix: tuple[str, ...] = ()
        self.at: Path | None = None
        name = f"lsca-bench-{os.getpid()}"
        for root, limits in (
            (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": SLICE}),
            (Path("/sys/fs/cgroup"), {"cpu.max": f"{SLICE} {PERIOD}"}),
        ):
            self.at = root / name
            try:
                self.at.mkdir()
                for limit, value in limits.items():
                    if not (self.at / limit).exists():  # the root of a cgroup file system has it
                        raise FileNotFoundError
                    (self.at / limit).write_text(str(value))
            except OSError:
                self.close()
                continue
            self.missing = ""
            join = f'echo $$ > {self.at}/cgroup.procs; exec "$@"'
            self.prefix = ("sh", "-c", join, "sh")
            return

    def close(self) -> None:
        if self.at:
            with contextlib.suppress(OSError):
                self.at.rmdir()
