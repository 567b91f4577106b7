# SPDX-License-Identifier: Apache-2.0
"""Sockets that stand in for the other side: a program that connects to some address is led to one of these instead.

Each address that programs connect to has a listener of its own, so that what comes in there is known to be meant for
it. Behind it a server, a function, or a tape; between the two, delays and limits. Nothing here knows of calls.
"""

import contextlib
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from lsca.live.address import Address
from lsca.live.threads import without_signals

CHUNK: Final = 1 << 16
QUEUED_MOST: Final = 1 << 20  # bytes on their way in one direction
SLICES: Final = 20  # a second's bandwidth comes in so many parts
LINGER: Final = struct.pack("ii", 1, 0)
DIAL_TIMEOUT: Final = 30.0  # seconds
QUIET: Final = 0.3  # seconds after which nothing more is on its way into a relay
LAST_WORDS: Final = 5.0  # seconds in which what ended programs have sent must have arrived

Serve = Callable[[socket.socket], None]
Note = Callable[[str, bytes], None]
_numbers: Final = itertools.count(1)


def dial(target: Address) -> socket.socket:
    """Connects. OSError."""
    if target.family == socket.AF_UNIX:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name: str | tuple[str, int] = target.path
        name = "\0" + target.path[1:] if target.path.startswith("@") else name
    else:
        host = target.plain_host
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = (host, target.port)
    try:
        s.settimeout(DIAL_TIMEOUT)
        s.connect(name)
    except BaseException:
        s.close()
        raise
    s.setblocking(False)
    return s


def start(what: Callable[[], None], name: str) -> threading.Thread:
    """A thread that takes no signals away."""
    thread = threading.Thread(target=what, name=name, daemon=True)
    with without_signals():
        thread.start()
    return thread


class Listener:
    """One socket that programs are led to. `expect` says who deals with the next one that comes in."""

    def __init__(self, family: int, serve: Serve | None = None) -> None:
        self._expected: deque[Serve] = deque()
        self._serve = serve
        self.socket, self.address = _listen(family)
        self.threads: list[threading.Thread] = []
        start(self._accept, "lsca-listener")

    def expect(self, serve: Serve) -> None:
        self._expected.append(serve)

    def forget(self, serve: Serve) -> bool:
        """It will not come after all. False if it has come meanwhile."""
        try:
            self._expected.remove(serve)
        except ValueError:
            return False
        return True

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self.socket.accept()
            except OSError:
                return
            if stream.family != socket.AF_UNIX:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve = self._expected.popleft() if self._expected else self._serve
            if serve is None:
                stream.close()
                continue
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            self.threads.append(start(lambda s=stream, f=serve: f(s), "lsca-connection"))  # type: ignore[misc]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self.socket.close()


def _listen(family: int) -> tuple[socket.socket, Address]:
    """A listening socket, and the address by which a socket of this family reaches it."""
    if family == socket.AF_UNIX:
        s = socket.socket(family, socket.SOCK_STREAM)
        name = f"lsca-{os.getpid()}-{next(_numbers)}"
        s.bind("\0" + name)
        s.listen(socket.SOMAXCONN)
        return s, Address(family, path="@" + name)
    if family == socket.AF_INET6:
        with contextlib.suppress(OSError):
            s = socket.create_server(("::1", 0), family=family, backlog=socket.SOMAXCONN)
            return s, Address(family, "::1", s.getsockname()[1])
    s = socket.create_server(("127.0.0.1", 0), backlog=socket.SOMAXCONN)
    host = "127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1"
    return s, Address(family, host, s.getsockname()[1])


class Lane:
    """One direction of a connection: bytes that have been read, and when each may arrive."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, latency: float, bandwidth: float
    ) -> None:
        self.source, self.sink = source, sink
        self.latency, self.bandwidth = latency, bandwidth
        self.queue: deque[tuple[float, bytes]] = deque()
        self.queued = 0
        self.free = 0.0  # when the line has passed on all so far
        self.read_all = self.sent_all = False

    def take(self, now: float) -> bytes | None:
        """Reads what there is; b"" at the end, None if there is nothing yet."""
        size = CHUNK
        if self.bandwidth:
            size = max(min(size, int(self.bandwidth / SLICES)), 1)
        try:
            data = self.source.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        self.read_all = not data
        self.free = max(self.free, now) + (len(data) / self.bandwidth if self.bandwidth else 0)
        self.queue.append((self.free + self.latency, data))
        self.queued += len(data)
        return data

    def give(self, now: float) -> None:
        """Sends what is due and finds room."""
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue[0]
            if not data:
                self.sent_all = True
                self.queue.clear()
                with contextlib.suppress(OSError):
                    self.sink.shutdown(socket.SHUT_WR)
                return
            try:
                sent = self.sink.send(data)
            except (BlockingIOError, InterruptedError):
                return
            self.queued -= sent
            self.queue.popleft()
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                return


class Pump:
    """Carries bytes between a program's connection and the other side, as late and as slowly as it is to be."""

    def __init__(
        self,
        far: socket.socket,
        *,
        latency: float = 0,
        bandwidth: float = 0,
        note: Note | None = None,
    ) -> None:
        self._far = far
        self._latency, self._bandwidth, self._note = latency, bandwidth, note
        self.is_over = False
        self._lane: Lane | None = None
        self._last = time.monotonic()

    def __call__(self, near: socket.socket) -> None:
        """Serves one connection to its end."""
        near.setblocking(False)
        self._far.setblocking(False)
        out = Lane(near, self._far, self._latency, self._bandwidth)
        back = Lane(self._far, near, self._latency, self._bandwidth)
        self._lane = out
        try:
            while not (out.sent_all and back.sent_all):
                self._step(out, back)
        except OSError:  # one side has reset: so does the other
            for s in (near, self._far):
                with contextlib.suppress(OSError):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        finally:
            near.close()
            self.abandon()

    def abandon(self) -> None:
        """Nobody will come, or nobody is there any more."""
        self.is_over = True
        self._far.close()

    @property
    def is_spoken(self) -> bool:
        """All that the program has sent has arrived, as far as one can tell."""
        if self.is_over or (self._lane is not None and self._lane.sent_all):
            return True
        quiet = time.monotonic() - self._last > QUIET
        return quiet and not (self._lane is not None and self._lane.queue)

    def _step(self, out: Lane, back: Lane) -> None:
        now = time.monotonic()
        events: dict[socket.socket, int] = {}
        wait: float | None = None
        for lane in (out, back):
            if not lane.read_all and lane.queued < QUEUED_MOST:
                events[lane.source] = events.get(lane.source, 0) | select.POLLIN
            if lane.queue:
                due = lane.queue[0][0]
                if due <= now:
                    events[lane.sink] = events.get(lane.sink, 0) | select.POLLOUT
                else:
                    wait = due - now if wait is None else min(wait, due - now)
        poll = select.poll()
        for s, wanted in events.items():
            poll.register(s, wanted)
        poll.poll(None if wait is None else max(wait * 1000, 1))
        now = time.monotonic()
        for side, lane in (("sent", out), ("received", back)):
            if not lane.read_all and lane.queued < QUEUED_MOST:
                data = lane.take(now)
                if data is not None:
                    self._last = now
                    if self._note is not None:
                        self._note(side, data)
            lane.give(now)


def wait_for(pumps: list[Pump]) -> None:
    """Until what the programs have sent has arrived, as they have ended; not for ever."""
    end = time.monotonic() + LAST_WORDS
    while time.monotonic() < end and not all(pump.is_spoken for pump in pumps):
        time.sleep(0.005)
