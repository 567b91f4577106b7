# SPDX-License-Identifier: Apache-2.0
"""Reads a log that still grows: `lsca log --follow`. Ends when the end of the run has been written."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lsca.errors import LogError
from lsca.log.reader import Log, Record, read_log

PAUSE: Final = 0.2  # seconds between two looks


def follow(path: str, pause: float = PAUSE) -> tuple[Log, Iterator[Record]]:
    """The log as it is now, and its records: those that are there, then those that come. LogError.

    Records of one thread come in order; those of several as they reach the file, which may be a moment late.
    """
    log = _begun(path, pause)
    return log, _records(path, log, pause)


def _begun(path: str, pause: float) -> Log:
    """Waits until the file has a header. That there is no file at all is an error."""
    while True:
        try:
            return read_log(path)
        except LogError:
            if not Path(path).exists() or Path(path).stat().st_size:
                raise
        time.sleep(pause)


def _records(path: str, log: Log, pause: float) -> Iterator[Record]:
    # Times may change a little when the clock's rate is known better; a thread's records keep their order.
    seen: dict[tuple[int, int], int] = {}
    while True:
        now: dict[tuple[int, int], int] = {}
        for record in log:
            thread = (record.pid, record.tid)
            now[thread] = now.get(thread, 0) + 1
            if now[thread] > seen.get(thread, 0):
                yield record
        seen = now
        if log.damage is None:
            return
        size = Path(path).stat().st_size
        while Path(path).stat().st_size == size:
            time.sleep(pause)
        log = read_log(path)
