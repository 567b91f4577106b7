# SPDX-License-Identifier: Apache-2.0
"""Processes of the demo: started in sessions of their own, waited for with a time limit, never left behind.

Used by demo.py. Nothing here waits without a limit; what does not come in time is a DemoError that says which
command it was and what it last wrote to standard error.
"""

import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

READY_SECONDS = 8.0
RUN_SECONDS = 15.0


class DemoError(Exception):
    """A step that failed, in words for the reader of the report."""


class OutOfTime(DemoError):
    """A step that was not begun because the demo has taken too long already."""


class Deadline:
    """The end of the whole demo: every step gets its own limit, or what is left if that is less."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def limit(self, seconds: float) -> float:
        """The moment (time.monotonic) at which a step that may take `seconds` has to be over."""
        now = time.monotonic()
        if now >= self._end:
            raise OutOfTime("the time for the whole demo is over")
        return min(now + seconds, self._end)


class Child:
    """A running program. Standard input stays open until `finish`, standard output is collected."""

    def __init__(self, command: Sequence[str], errors: Path, deadline: Deadline) -> None:
        self.command = command
        self.output = b""
        self._errors = errors
        self._deadline = deadline
        with errors.open("wb") as file:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoError(f"{error.strerror}: {command[0]}") from None
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_line(self, start: bytes, seconds: float) -> str:
        """Waits for a line of output that begins so."""
        until = self._deadline.limit(seconds)
        while True:
            *lines, _ = self.output.split(b"\n")
            for line in lines:
                if line.startswith(start):
                    return line.decode()
            if not self._read(until):
                self.kill()
                raise self.failure(f"ended without a line '{start.decode()}...'")

    @property
    def status(self) -> int | None:
        """As subprocess gives it; None while it runs."""
        return self._process.poll()

    def finish(self, seconds: float, deadline: Deadline | None = None) -> int:
        """Closes standard input, reads the rest, returns the status as subprocess gives it."""
        until = (deadline or self._deadline).limit(seconds)
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self._read(until):
            pass
        try:
            return self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._too_late() from None

    def stop(self, seconds: float, deadline: Deadline | None = None) -> int:
        """Asks it to end with SIGTERM; the status."""
        self._process.terminate()
        return self.finish(seconds, deadline)

    def kill(self) -> None:
        """For the way out: whatever is still there of this session of processes goes."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def failure(self, what: str) -> DemoError:
        said = self._errors.read_text(errors="replace").strip().splitlines()[-3:]
        text = f"{what}\n    command: {shlex.join(self.command)}"
        return DemoError("\n    stderr: ".join([text, *said]))

    def _too_late(self) -> DemoError:
        return self.failure("did not get ready or end in time")

    def _read(self, until: float) -> bool:
        left = until - time.monotonic()
        if left <= 0 or not select.select([self._out], [], [], left)[0]:
            raise self._too_late()
        data = os.read(self._out, 65536)
        self.output += data
        return bool(data)


def capture(command: Sequence[str], deadline: Deadline, seconds: float = RUN_SECONDS) -> str:
    """Standard output of a command that has to succeed."""
    limit = deadline.limit(seconds) - time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise DemoError(f"did not end in time\n    command: {shlex.join(command)}") from None
    except OSError as error:
        raise DemoError(f"{error.strerror}: {command[0]}") from None
    if done.returncode:
        said = "\n    stderr: ".join(done.stderr.strip().splitlines()[-5:])
        raise DemoError(
            f"status {done.returncode}\n    command: {shlex.join(command)}\n    stderr: {said}"
        )
    return done.stdout


def listener(transport: str, address: str) -> str | None:
    """The inode of the socket that is bound there, from the kernel's own tables; None while there is none.

    Asking the tables is no connection, so it does not disturb a server that counts or forks.
    """
    if transport == "unix":
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) == 8 and fields[7] == address and int(fields[3], 16) & 0x10000:
                return fields[6]
        return None
    port = f":{int(address.rpartition(':')[2]):04X}"
    for line in Path(f"/proc/net/{transport}").read_text().splitlines()[1:]:
        fields = line.split()
        bound = fields[1].endswith(port) and fields[2] == "00000000:0000"
        if bound and (transport == "udp" or fields[3] == "0A"):
            return fields[9]
    return None


def wait_for_listener(child: Child, transport: str, address: str, deadline: Deadline) -> str:
    until = deadline.limit(READY_SECONDS)
    while time.monotonic() < until:
        inode = listener(transport, address)
        if inode:
            return inode
        if child.status is not None:
            raise child.failure(f"ended before it listened, status {child.status}")
        time.sleep(0.01)
    raise child.failure(f"did not listen on {address}")


def holder(inode: str, pids: Iterable[int]) -> int | None:
    """Which of these processes has the socket among its descriptors."""
    for pid in pids:
        try:
            entries = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for entry in entries:
            try:
                if os.readlink(entry) == f"socket:[{inode}]":
                    return pid
            except OSError:
                continue
    return None


def still_there(pids: Iterable[int], seconds: float) -> list[int]:
    """Which of the processes have not gone after at most so long; zombies count as there."""
    until = time.monotonic() + seconds
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
    return left
