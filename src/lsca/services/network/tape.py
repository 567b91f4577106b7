# SPDX-License-Identifier: Apache-2.0
"""A tape: what went over each connection, and which datagrams, as lines of JSON; written while programs run, and
played again.

{"tape": 1}
{"connection": 1, "to": "198.18.0.2:80", "name": "example.com"}
{"connection": 1, "sent": "GET / HTTP/1.1\\r\\n..."}        what the program sent; "sent64" if it is no text
{"connection": 1, "received": "HTTP/1.1 200 OK\\r\\n..."}
{"connection": 1, "end": "received"}                       the other side sends no more
{"connection": 2, "to": "198.18.0.3:80", "failed": "ECONNREFUSED"}
{"datagrams": 3, "to": "198.18.0.4:123"}                   what a socket sent to an address, and what came from there
{"datagrams": 3, "sent": "..."}                            one datagram
{"datagrams": 3, "received": "...", "from": "198.18.0.4:40000"}    "from": if it was another address
{"datagrams": 3, "failed": "ECONNREFUSED"}                 nobody was there
{"resolve": "example.com", "type": "A", "answer": ["198.18.0.2"]}   null: there is no such name
"""

import base64
import contextlib
import errno
import itertools
import json
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

from lsca.errors import HandlerError
from lsca.live.address import Address

VERSION: Final = 1
SIDES: Final = ("sent", "received")
SHOWN: Final = 60  # bytes of what differs
PATIENCE: Final = 20.0  # seconds for a program to send what is on the tape
LINGER: Final = struct.pack("ii", 1, 0)  # so that closing resets


class Recorder:
    """Writes a tape; each line is in the file before the bytes go on."""

    def __init__(self, path: str) -> None:
        self._count = 0
        self._resolved: set[str] = set()
        self._lock = threading.Lock()
        try:
            self._file: IO[str] | None = open(path, "w", encoding="utf-8")  # noqa: SIM115
            self._write({"tape": VERSION})
        except OSError as error:
            raise HandlerError(f"the tape {path} cannot be written: {error.strerror}") from error

    def begin(self, to: Address, names: Collection[str], failed: int = 0) -> int:
        """A new connection; its number."""
        return self._begin("connection", to, names, failed)

    def _begin(self, kind: str, to: Address, names: Iterable[str], failed: int) -> int:
        with self._lock:
            self._count += 1
            number = self._count
        line: dict[str, Any] = {kind: number, "to": str(to)}
        names = sorted(names)
        if names:
            line["name"] = names[0]
        if failed:
            line["failed"] = errno.errorcode.get(failed, str(failed))
        self._write(line)
        return number

    def note(self, number: int, side: str, data: bytes) -> None:
        """What one side sent; b"": it sends no more."""
        self._write({"connection": number, **(_written(side, data) if data else {"end": side})})

    def begin_datagrams(self, to: Address, names: Iterable[str], failed: int = 0) -> int:
        """A socket sends to an address for the first time, or cannot; the number of what they say to each other."""
        return self._begin("datagrams", to, names, failed)

    def datagram(self, number: int, side: str, data: bytes, source: str = "") -> None:
        """One datagram; `source`: where it came from, if that is another address."""
        line = {"datagrams": number, **_written(side, data)}
        self._write({**line, "from": source} if source else line)

    def refused(self, number: int) -> None:
        self._write({"datagrams": number, "failed": "ECONNREFUSED"})

    def resolved(self, name: str, kind: str, answer: list[str] | None) -> None:
        line = {"resolve": name, "type": kind, "answer": answer}
        text = json.dumps(line)
        if text not in self._resolved:  # a name is looked up again and again
            self._resolved.add(text)
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._file is not None:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):  # that there is no room has been said
                    self._file.close()
            self._file = None


@dataclass
class Taped:
    """One connection of a tape: pieces of (side, bytes), b"" for an end."""

    number: int
    to: str
    name: str = ""
    failed: int = 0
    pieces: list[tuple[str, bytes]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"connection {self.number} to {self.name + ' ' if self.name else ''}{self.to}"


@dataclass
class Piece:
    """What one side sent, or "failed"; `is_done`: a program has sent just this."""

    side: str
    data: bytes = b""
    source: str = ""
    is_done: bool = False


@dataclass
class Letters:
    """The datagrams between a socket and an address."""

    number: int
    to: str
    name: str = ""
    failed: int = 0
    pieces: list[Piece] = field(default_factory=list)
    at: int = 0  # what is before has been played

    def __str__(self) -> str:
        return f"datagrams {self.number} to {self.name + ' ' if self.name else ''}{self.to}"

    def sent(self, data: bytes, complain: Callable[[str], None]) -> list[Piece]:
        """What a program is to receive now that it has sent this. Datagrams may change places, and come again."""
        same = [n for n, one in enumerate(self.pieces) if one.side == "sent" and one.data == data]
        new = [n for n in same if not self.pieces[n].is_done]
        if not new:
            if not same:
                self._differs(data, complain)
            return self._answers(same[-1] + 1) if same else []
        self.pieces[new[0]].is_done = True
        played = []
        while self.at < len(self.pieces):
            piece = self.pieces[self.at]
            if piece.side != "sent":
                played.append(piece)
            elif not piece.is_done:
                break
            self.at += 1
        return played

    def _answers(self, at: int) -> list[Piece]:
        """What followed a datagram, if it has been played: the program may not have got it."""
        return list(
            itertools.takewhile(lambda one: one.side == "received", self.pieces[at : self.at])
        )

    def _differs(self, data: bytes, complain: Callable[[str], None]) -> None:
        left = [one.data for one in self.pieces if one.side == "sent" and not one.is_done]
        there = f"where the tape has {left[0][:SHOWN]!r}" if left else "where the tape ends"
        complain(f"{self}: the program sends {data[:SHOWN]!r}, {there}")


class Player:
    """A tape that is played: connections to an address come in the order in which they were made."""

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._waiting: dict[str, deque[Taped]] = defaultdict(deque)
        self._letters: dict[str, deque[Letters]] = defaultdict(deque)
        self._names: dict[tuple[str, str], list[str] | None] = {}
        self._lock = threading.Lock()
        self.problems: list[str] = []
        self._load()

    def _load(self) -> None:
        known: dict[int, Taped] = {}
        letters: dict[int, Letters] = {}
        try:
            with open(self.path, encoding="utf-8") as f:
                lines = list(f)
        except (OSError, UnicodeDecodeError) as error:
            raise HandlerError(f"the tape {self.path} cannot be read: {error}") from error
        for number, text in enumerate(lines, 1):
            try:
                line = json.loads(text)
                if number == 1:
                    if line["tape"] != VERSION:
                        raise HandlerError(
                            f"{self.path}: a tape of version {line['tape']}, not {VERSION}"
                        )
                elif "resolve" in line:
                    self._names[line["resolve"], line["type"]] = line["answer"]
                elif "datagrams" in line:
                    self._load_datagrams(line, letters)
                elif "to" in line:
                    failed = getattr(errno, line.get("failed", ""), 0)
                    one = Taped(line["connection"], line["to"], line.get("name", ""), failed)
                    known[one.number] = one
                    self._waiting[one.to].append(one)
                else:
                    known[line["connection"]].pieces.append(_piece(line))
            except (ValueError, KeyError, TypeError, StopIteration) as error:
                if isinstance(error, HandlerError):
                    raise
                raise HandlerError(
                    f"{self.path}:{number}: no line of a tape; see docs/network.md"
                ) from None
        if not lines:
            raise HandlerError(f"{self.path}: no tape, but an empty file")

    def _load_datagrams(self, line: dict[str, Any], known: dict[int, Letters]) -> None:
        number = line["datagrams"]
        failed = getattr(errno, line.get("failed", ""), 0)
        if "to" in line:
            one = known[number] = Letters(number, line["to"], line.get("name", ""), failed)
            self._letters[one.to].append(one)
        elif failed:
            known[number].pieces.append(Piece("failed"))
        else:
            side, data = _piece(line)
            source = line.get("from", "")
            if source:
                Address.of(source)
            known[number].pieces.append(Piece(side, data, source))

    def resolve(self, name: str, kind: str) -> list[str] | None:
        """What a server had answered; None if there is no such name, which is said if nobody had asked."""
        if (name, kind) not in self._names:
            if not any(name == one for one, _ in self._names):
                self.complain(f"{name} is looked up, which was not done when the tape was made")
            return None
        return self._names[name, kind]

    def next(self, to: Address, who: str) -> Taped | None:
        """The connection that is the next one to an address; None, and a complaint, if there is none left."""
        with self._lock:
            if self._waiting[str(to)]:
                return self._waiting[str(to)].popleft()
        there = self._what_is_left(self._waiting)
        self.complain(f"{who} connects to {to}, and this connection is not on the tape{there}")
        return None

    def next_datagrams(self, to: Address, who: str) -> Letters | None:
        """The same for a socket that begins to send to an address."""
        with self._lock:
            if self._letters[str(to)]:
                return self._letters[str(to)].popleft()
        there = self._what_is_left(self._letters)
        self.complain(f"{who} sends to {to}, and these datagrams are not on the tape{there}")
        return None

    def datagrams_fail(self, to: Address) -> int:
        """The error number if the next attempt to send to an address has failed, else 0."""
        with self._lock:
            waiting = self._letters[str(to)]
            return waiting.popleft().failed if waiting and waiting[0].failed else 0

    def _what_is_left(self, waiting: Mapping[str, deque[Any]]) -> str:
        left = sorted(address for address, ones in list(waiting.items()) if ones)
        return f"; left on it: {', '.join(left)}" if left else ", of which all has been played"

    def complain(self, text: str) -> None:
        text = f"{self.path}: {text}"
        with self._lock:
            if text in self.problems:
                return
            self.problems.append(text)
        self._say(text)

    def play(self, stream: socket.socket, taped: Taped) -> None:
        """Does with a program's connection what the other side had done, and compares what the program sends."""
        with stream, contextlib.suppress(OSError):
            stream.settimeout(PATIENCE)
            at, ended = 0, False
            for side, data in taped.pieces:
                if side == "received":
                    if data:
                        stream.sendall(data)
                    else:
                        stream.shutdown(socket.SHUT_WR)
                    continue
                ended = not data
                if not self._expect(stream, taped, data, at):
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                    return
                at += len(data)
            if not ended and (more := stream.recv(SHOWN)):
                self.complain(f"{taped}: the program goes on with {more!r}, where the tape ends")

    def _expect(self, stream: socket.socket, taped: Taped, data: bytes, at: int) -> bool:
        """The program sends just this, or its end for b""."""
        got = b""
        while len(got) < max(len(data), 1):
            try:
                part = stream.recv(max(len(data) - len(got), 1))
            except TimeoutError:
                self.complain(
                    f"{taped}: the program does not send {data[len(got) :][:SHOWN]!r}, as on the tape"
                )
                return False
            except OSError:
                part = b""
            if not part:
                break
            got += part
            if not data.startswith(got):
                break
        if got == data:
            return True
        same = next(
            (i for i, (a, b) in enumerate(zip(got, data, strict=False)) if a != b),
            min(len(got), len(data)),
        )
        begin = max(same - 20, 0)
        what = f"sends {got[begin : same + SHOWN]!r}" if got[begin:] else "sends no more"
        self.complain(
            f"{taped}: at byte {at + same} the program {what}, where the tape has {data[begin : same + SHOWN]!r}"
        )
        return False

    def left(self) -> list[Taped | Letters]:
        """Connections that nobody has made, and datagrams that nobody has sent."""
        connections = [one for ones in self._waiting.values() for one in ones]
        return [*connections, *(one for ones in self._letters.values() for one in ones)]


def _written(side: str, data: bytes) -> dict[str, str]:
    try:
        return {side: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{side}64": base64.b64encode(data).decode()}


def _piece(line: dict[str, Any]) -> tuple[str, bytes]:
    if "end" in line:
        if line["end"] not in SIDES:
            raise ValueError(line["end"])
        return line["end"], b""
    side = next(side for side in SIDES if side in line or f"{side}64" in line)
    if side in line:
        return side, line[side].encode("utf-8")
    return side, base64.b64decode(line[f"{side}64"], validate=True)
