# SPDX-License-Identifier: Apache-2.0
"""The reader of logs in C, native/log/module.c. `lsca.log` is what to use; nothing else imports this."""

from collections.abc import Iterator
from typing import TypedDict

COLUMNS: tuple[str, ...]  # of the stream, in order

class Segment(TypedDict):
    """A file of a log. `end`: lost, undrained, uncaught, is_last; None without an end block."""

    path: bytes
    run: int
    machine: int
    number: int
    ticks0: int
    mono0: int
    real0: int
    ns_per_tick: float
    table: int
    boot_id: bytes
    host: bytes
    rows: int
    blocks: int
    end: tuple[int, int, int, bool] | None
    problem: str | None
    problem_at: int
    size: int

# nr, kind, route, flags, pid, tid, thread, seq, start_ns, end_ns, ret, args, pieces (argument, flags, bytes, full),
# run, start and end in ticks, machine
Raw = tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    tuple[int, int, int, int, int, int],
    tuple[tuple[int, int, bytes, int], ...],
    int,
    int,
    int,
    int,
]

class Log:
    """Segments of one or several runs."""

    def add(self, path: bytes, /) -> str | None:
        """One more file: None, or what is wrong with it in words. OSError if it cannot be opened or mapped."""

    def refresh(self) -> bool:
        """Looks whether files have grown."""

    def segments(self) -> list[Segment]:
        """By run and number."""

    def pids(self) -> set[int]:
        """Of all processes."""

    def length(self) -> int:
        """How many records there are, without those that were replaced."""

    def verify(self, deep: bool, /) -> list[tuple[int, int, int, int, int, int, bool]]:
        """Compares threads' sequences; `deep`: reads everything.

        Gaps: run, pid, tid, thread, first number and the one behind the last, True if they are there twice.
        """

    def file(self, run: int, pid: int, fd: int, ticks: int, path: bytes = ..., /) -> bytes | None:
        """What a descriptor stood for; with a path, where that leads to from there."""

    def records(
        self,
        calls: bytes,
        others: bool,
        events: bool,
        ids: list[int] | None,
        after: list[int] | None,
        /,
    ) -> Iterator[Raw]:
        """In order of start. `calls`: a byte for each number; `after`: of each segment how many blocks to leave out."""

    def stream(self, wanted: int, only: bool, /) -> object:
        """A capsule with an Arrow stream of those COLUMNS whose bits are set; unless `only`, the others are NULL."""
