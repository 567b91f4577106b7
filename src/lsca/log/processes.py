# SPDX-License-Identifier: Apache-2.0
"""The processes of a log: who started whom, what ran in them, how they ended, what their calls took.

How a process ended is told by itself (exit_group), by its parent (wait4 and the like see a signal), or by the log's own
record of the first program's end.
"""

import os
import shlex
import signal as signals
from dataclasses import dataclass, field
from typing import Final

from lsca.log.descriptors import Descriptors
from lsca.log.reader import Log
from lsca.log.record import Record
from lsca.log.touched import named_of, readable, row_of, succeeded
from lsca.table.text import Piece

EXITS: Final = ("exit", "exit_group")
WAITS: Final = {"wait4": 1, "waitid": 2}  # which argument says how it ended
SIGINFO: Final = {"code": 8, "pid": 12, "status": 20}  # offsets in siginfo_t of SIGCHLD
CLD_EXITED: Final = 1


@dataclass(slots=True)
class Image:
    """A program that ran in a process: what exec was given, and when."""

    path: str
    argv: tuple[str, ...]
    started_ns: int
    more: bool = False  # there were more arguments than the log keeps

    @property
    def command(self) -> str:
        """The command line, as a shell would take it."""
        words = [shlex.quote(word) for word in self.argv] or [shlex.quote(self.path)]
        return " ".join([*words, *(["..."] if self.more else [])])


@dataclass(slots=True)
class Process:
    """One process. Times are CLOCK_REALTIME in nanoseconds; `parent` is None for the first one, and where unknown.

    `exit_code` and `signal` are None while nothing in the log says how it ended. `images` holds the programs that ran
    in it; empty if it only ever was a copy of its parent.
    """

    pid: int
    parent: "Process | None"
    started_ns: int
    ended_ns: int = 0
    exited: bool = False
    exit_code: int | None = None
    signal: int | None = None
    images: list[Image] = field(default_factory=list)
    children: list["Process"] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    calls: int = 0
    errors: int = 0
    time_ns: int = 0
    trapped: int = 0
    cwd: str | None = None

    @property
    def duration_ns(self) -> int:
        return max(0, self.ended_ns - self.started_ns)

    @property
    def command(self) -> str:
        """What ran in it last; a copy of its parent has in parentheses what that ran when it began."""
        if self.images:
            return self.images[-1].command
        above = self.parent
        while above:
            ran = [image for image in above.images if image.started_ns <= self.started_ns]
            if ran:
                return f"({ran[-1].command})"
            above = above.parent
        return "?"

    @property
    def ending(self) -> str:
        """In words: "exit 0", "SIGKILL", "running" or "?"."""
        if self.signal is not None:
            return signal_name(self.signal)
        if self.exit_code is not None:
            return f"exit {self.exit_code}"
        return "?" if self.exited else "not ended"


def signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Processes:
    """Collects processes from records, which come in order of their start. `roots` has those without a parent."""

    def __init__(self, log: Log) -> None:
        self._machine = log.header.machine
        self._files = Descriptors(log)
        self._now: dict[int, Process] = {}  # who has a number at this time
        self._exec: dict[
            int, Image
        ] = {}  # by pid: what execve was called with, until it has happened
        self._waits: list[Record] = []  # begun, but not ended yet
        self.all: list[Process] = []

    @classmethod
    def of(cls, log: Log) -> "Processes":
        """All processes of a log."""
        found = cls(log)
        for record in log:
            found.add(record)
        found.finish()
        return found

    def finish(self) -> None:
        """After the last record."""
        self._until(None)

    @property
    def roots(self) -> list[Process]:
        return [process for process in self.all if process.parent is None]

    def add(self, record: Record) -> None:
        if self._waits:
            self._until(record.start_ns)
        process = self._process(record)
        process.ended_ns = max(process.ended_ns, record.end_ns, record.start_ns)
        if record.kind == "exit":
            process.exited = True
        elif record.kind == "status":
            self._ended(process, record.args[0])
        elif record.kind == "program":
            process.images.append(_image("?", record.entry.get(0), record.start_ns))
        elif record.kind == "start" and record.args[1]:
            image = self._exec.pop(record.pid, None)
            if image and (not process.images or process.images[-1] is not image):
                process.images.append(image)
        if record.kind != "call":
            return
        process.threads.add(record.tid)
        process.calls += 1
        process.trapped += record.trapped
        if record.returns:
            process.time_ns += max(0, record.end_ns - record.start_ns)
            process.errors += -4096 < record.ret < 0
        if record.name in EXITS:
            if record.name == "exit_group":
                process.exit_code = record.args[0] & 0xFF
        elif record.name in WAITS and succeeded(record):
            self._waits.append(record)
        elif record.name in ("execve", "execveat") and not record.returns:
            named = next(named_of(record, self._machine, self._files.of(record)), None)
            path = readable(named.path) if named else "?"
            self._exec[record.pid] = _image(path, self._argv(record), record.start_ns)

    def _process(self, record: Record) -> Process:
        """Who the record is about: a number may have belonged to another process before."""
        known = self._now.get(record.pid)
        begins = record.kind == "start" and not record.args[1]
        if known and not (begins and (known.exited or known.calls)):
            if begins and known.parent is None:
                self._adopt(known, record.args[0])
            return known
        process = Process(record.pid, None, record.start_ns)
        self._now[record.pid] = process
        self.all.append(process)
        if begins:
            self._adopt(process, record.args[0])
        return process

    def _adopt(self, child: Process, parent_pid: int) -> None:
        parent = self._now.get(parent_pid)
        if parent and parent is not child:
            child.parent = parent
            parent.children.append(child)

    def _argv(self, record: Record) -> Piece | None:
        row = row_of(record, self._machine)
        index = row.order[self._machine].index("argv") if row else -1
        return record.entry.get(index)

    def _until(self, now: int | None) -> None:
        """What parents have learned by now; None: all of it."""
        still = []
        for record in self._waits:
            if now is None or record.end_ns <= now:
                self._waited(record)
            else:
                still.append(record)
        self._waits = still

    def _waited(self, record: Record) -> None:
        """A parent has learned how its child ended."""
        piece = record.exit.get(WAITS[record.name or ""])
        if not piece:
            return
        if record.name == "wait4" and record.ret > 0 and len(piece.data) >= 4:
            child = self._now.get(record.ret)
            if child:
                self._ended(child, int.from_bytes(piece.data[:4], "little"))
        elif record.name == "waitid" and len(piece.data) >= 24:
            code, pid, status = (
                int.from_bytes(piece.data[at : at + 4], "little", signed=True)
                for at in SIGINFO.values()
            )
            child = self._now.get(pid)
            if child and code == CLD_EXITED:
                child.exit_code = status & 0xFF
            elif child and code in (2, 3):  # CLD_KILLED, CLD_DUMPED
                child.exit_code, child.signal = None, status

    @staticmethod
    def _ended(process: Process, status: int) -> None:
        if os.WIFSIGNALED(status):
            process.exit_code, process.signal = None, os.WTERMSIG(status)
        elif os.WIFEXITED(status):
            process.exit_code = os.WEXITSTATUS(status)


def _image(path: str, argv: Piece | None, start_ns: int) -> Image:
    data = argv.data if argv else b""
    words = tuple(word.decode("utf-8", "replace") for word in data.split(b"\0")[:-1])
    if path == "?" and words:
        path = words[0]
    return Image(path, words, start_ns, argv is not None and len(data) < argv.full)
