# SPDX-License-Identifier: Apache-2.0
"""A tape: what went over each connection, in order, as lines of JSON; written while programs run, and played again.

{"tape": 1}
{"connection": 1, "to": "198.18.0.2:80", "name": "example.com"}
{"connection": 1, "sent": "GET / HTTP/1.1\\r\\n..."}        what the program sent; "sent64" if it is no text
{"connection": 1, "received": "HTTP/1.1 200 OK\\r\\n..."}
{"connection": 1, "end": "received"}                       the other side sends no more
{"connection": 2, "to": "198.18.0.3:80", "failed": "ECONNREFUSED"}
{"resolve": "example.com", "type": "A", "answer": ["198.18.0.2"]}   null: there is no such name
"""

import base64
import contextlib
import errno
import json
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection
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
        try:
            self._file: IO[str] | None = open(path, "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise HandlerError(f"the tape {path} cannot be written: {error.strerror}") from error
        self._count = 0
        self._resolved: set[str] = set()
        self._lock = threading.Lock()
        self._write({"tape": VERSION})

    def begin(self, to: Address, names: Collection[str], failed: int = 0) -> int:
        """A new connection; its number."""
        with self._lock:
            self._count += 1
            number = self._count
        line: dict[str, Any] = {"connection": number, "to": str(to)}
        if names:
            line["name"] = min(names)
        if failed:
            line["failed"] = errno.errorcode.get(failed, str(failed))
        self._write(line)
        return number

    def note(self, number: int, side: str, data: bytes) -> None:
        """What one side sent; b"": it sends no more."""
        if not data:
            self._write({"connection": number, "end": side})
            return
        try:
            text = data.decode("utf-8")
            self._write({"connection": number, side: text})
        except UnicodeDecodeError:
            self._write({"connection": number, f"{side}64": base64.b64encode(data).decode()})

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


class Player:
    """A tape that is played: connections to an address come in the order in which they were made."""

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._waiting: dict[str, deque[Taped]] = defaultdict(deque)
        self._names: dict[tuple[str, str], list[str] | None] = {}
        self._lock = threading.Lock()
        self.problems: list[str] = []
        self._load()

    def _load(self) -> None:
        known: dict[int, Taped] = {}
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
            left = sorted(address for address, ones in self._waiting.items() if ones)
        there = f"; left on it: {', '.join(left)}" if left else ", of which all has been played"
        self.complain(f"{who} connects to {to}, and this connection is not on the tape{there}")
        return None

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

    def left(self) -> list[Taped]:
        """Connections that nobody has made."""
        return [one for ones in self._waiting.values() for one in ones]


def _piece(line: dict[str, Any]) -> tuple[str, bytes]:
    if "end" in line:
        if line["end"] not in SIDES:
            raise ValueError(line["end"])
        return line["end"], b""
    side = next(side for side in SIDES if side in line or f"{side}64" in line)
    if side in line:
        return side, line[side].encode("utf-8")
    return side, base64.b64decode(line[f"{side}64"], validate=True)
