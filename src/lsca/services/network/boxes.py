# SPDX-License-Identifier: Apache-2.0
"""What post.py carries datagrams between: boxes that stand for addresses, aliases that stand for programs' sockets, and
lines that say which datagrams arrive, and when.
"""

import errno
import os
import queue
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from lsca.live.address import Address
from lsca.live.opened import File
from lsca.services.network.tape import Letters

DATAGRAM_MOST: Final = 1 << 16
QUEUED_MOST: Final = (
    1 << 20
)  # bytes that wait for their turn in one direction; what comes then is lost
CONNECTED_MOST: Final = 256
STUCK_MOST: Final = 10_000
BUFFER: Final = 1 << 22  # bytes, as far as the kernel lets
IP_RECVERR, IPV6_RECVERR = 11, 25
LINK_LOCAL: Final = "fe80:"
Place = tuple[str | int, ...] | str | bytes  # an address as `socket` has it
Who = Place | None
Replies = bytes | Iterable[bytes] | None
Answerer = Callable[[Address, bytes], Replies]


@dataclass(frozen=True, slots=True)
class Shape:
    """How slow and how bad the network is."""

    latency: float = 0.0
    bandwidth: float = 0.0
    loss: float = 0.0
    seed: int = 0

    def __bool__(self) -> bool:
        return bool(self.latency or self.bandwidth or self.loss)


class Line:
    """One direction of a program's socket: which datagrams are lost there, and when the others arrive."""

    def __init__(self, shape: Shape, name: str) -> None:
        self._shape = shape
        self._chance = Random(f"{shape.seed} {name}") if shape.loss else None
        self._free = 0.0  # when the line has passed on all so far

    def due(self, size: int, now: float) -> float | None:
        """When a datagram arrives; None: never."""
        shape = self._shape
        if self._chance is not None and self._chance.random() < shape.loss:
            return None
        begin = max(self._free, now)
        if shape.bandwidth:
            if (begin - now) * shape.bandwidth > QUEUED_MOST:
                return None
            begin += size / shape.bandwidth
        self._free = begin
        return begin + shape.latency


class Box:
    """What programs send to instead of `meant`. `target`: where it goes from there, or the function that answers."""

    def __init__(self, meant: Address, target: Address | Answerer, at: Address | None) -> None:
        self.meant = meant
        self.target = target
        self.is_taped = True
        self.user = ""  # the program that last sent here, for messages
        self.connected: deque[File] = deque(maxlen=CONNECTED_MOST)
        self.socket, self.address = opened(meant, at)
        self.local = ""  # the host that a socket would have that is connected there
        self.todo: queue.Queue[tuple[Alias, bytes] | None] = queue.Queue()
        self.aliases = 0  # that have begun here

    def send(self, data: bytes, who: Who) -> bool:
        """To a program's socket. If it is gone, the datagram is, too. False if a Unix socket has no room: it waits."""
        try:
            self.socket.sendto(data, who)  # type: ignore[arg-type]
        except OSError as error:
            return self.socket.family != socket.AF_UNIX or error.errno != errno.EAGAIN
        return True


class Stuck:
    """Datagrams for which a Unix socket had no room, in their order: the kernel loses none there."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], bool]] = deque(maxlen=STUCK_MOST)

    def pass_on(self, send: Callable[[], bool]) -> bool:
        """Sends, or keeps it for later. False if what is kept has to be tried again."""
        if self.waiting:
            self.waiting.append(send)
            return True
        if send():
            return True
        self.waiting.append(send)
        return False

    def retry(self) -> bool:
        while self.waiting:
            if not self.waiting[0]():
                return False
            self.waiting.popleft()
        return True


class Alias:
    """A socket of a program, as others see it: what sends for it, and how slowly."""

    def __init__(self, who: Who, shape: Shape, name: str) -> None:
        self.who = who
        self.out, self.back = Line(shape, f"{name} out"), Line(shape, f"{name} back")
        self.far: dict[int, socket.socket] = {}
        self.boxes: dict[object, Box] = {}  # by the address to which was sent really
        self.stuck = Stuck(), Stuck()  # out and back
        self.last: Box | None = None
        self.numbers: dict[Box, int] = {}  # of conversations on a tape that is made
        self.letters: dict[Box, Letters | None] = {}  # on one that is played

    def close(self) -> None:
        for s in self.far.values():
            s.close()


def is_for_many(address: Address) -> bool:
    """Whether it is the address of a group, or of all: who answers to it is known to nobody."""
    if address.family == socket.AF_INET or address.plain_host != address.host:
        return int(address.plain_host.partition(".")[0]) >= 224
    return address.family == socket.AF_INET6 and address.host.startswith("ff")


def somewhere(address: Address) -> Address:
    """What is sent to no address in particular goes to this machine."""
    known = {"0.0.0.0": "127.0.0.1", "::": "::1", "::ffff:0.0.0.0": "::ffff:127.0.0.1"}
    return address._replace(host=known[address.host], raw=b"") if address.host in known else address


def family_of(address: Address) -> int:
    if address.family == socket.AF_UNIX:
        return address.family
    return socket.AF_INET6 if ":" in address.plain_host else socket.AF_INET


def where(address: Address) -> Place:
    """An address as `socket` takes it and gives it."""
    if address.family == socket.AF_UNIX:
        path = address.path
        return b"\0" + os.fsencode(path[1:]) if path.startswith("@") else path
    if ":" not in address.plain_host:
        return address.plain_host, address.port
    has_scope = address.host.startswith(LINK_LOCAL) and len(address.raw) >= 28
    scope = struct.unpack_from("<I", address.raw, 24)[0] if has_scope else 0
    return address.host, address.port, 0, scope


def address_of(source: tuple[str | int, ...]) -> Address:
    """The other way round, of the Internet's."""
    host, port, *more = source
    family = socket.AF_INET6 if ":" in str(host) else socket.AF_INET
    address = Address(family, str(host).partition("%")[0], int(port))
    if more and address.host.startswith(LINK_LOCAL):
        raw = address.pack()[:-4] + struct.pack("<I", int(more[-1]))
        return Address(family, address.host, address.port, raw=raw)
    return address


def outgoing(family: int) -> socket.socket:
    """A socket that sends for a program's. It learns of what comes back, though it is not connected."""
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setblocking(False)
    widen(s)
    if family == socket.AF_UNIX:
        s.bind("")  # the kernel finds a name, so that it can be answered
    elif family == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    return s


def opened(meant: Address, at: Address | None) -> tuple[socket.socket, Address]:
    """A socket that stands for an address, and by which address one of that family reaches it."""
    if meant.family == socket.AF_UNIX:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind("")  # "\0" and five digits: it must fit where a program's path stood
        address = Address(socket.AF_UNIX, path="@" + os.fsdecode(s.getsockname()[1:]))
    else:
        host = at.plain_host if at is not None else "127.0.0.1"
        if at is None and family_of(meant) == socket.AF_INET6:
            host = "::1"
        port = at.port if at is not None else 0
        try:
            s = _bound(host, port)
        except OSError:
            if at is not None:
                raise
            host = "127.0.0.1"  # a machine without IPv6
            s = _bound(host, port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = Address(family, host, s.getsockname()[1]).within(meant.family)
    widen(s)
    s.setblocking(False)
    return s, address


def _bound(host: str, port: int) -> socket.socket:
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind((host, port))
    except OSError:
        s.close()
        raise
    return s


def widen(s: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        s.setsockopt(socket.SOL_SOCKET, option, BUFFER)


def send(s: socket.socket, data: bytes, to: Place) -> bool:
    """Sends as far as that goes: what fails is lost on the way. False if a Unix socket has no room for it."""
    for _ in range(2):  # an error of an earlier one may come first
        try:
            s.sendto(data, to)
            return True
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return s.family != socket.AF_UNIX
            if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
                return True
    return True


def received(s: socket.socket) -> tuple[bytes, Who]:
    size = DATAGRAM_MOST
    if s.family == socket.AF_UNIX:  # may be larger
        size = s.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC) or 1
    return s.recvfrom(size)
