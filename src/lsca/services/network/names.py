# SPDX-License-Identifier: Apache-2.0
"""Who has which address: what the user says, what rules need, what the real servers answered. And the small responder
that tells programs so, over UDP and TCP, in the place of each name server that they turn to.
"""

import contextlib
import fnmatch
import ipaddress
import itertools
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from lsca.errors import HandlerError
from lsca.live.address import Address
from lsca.services.network import dns
from lsca.services.network.rules import NAME, fits_name

Answer = str | Iterable[str] | None
Resolver = Callable[[str], Answer]
FAKE: Final = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544: of no host in the Internet
NOWHERE: Final = "NXDOMAIN"
TIMEOUT: Final = 5.0  # seconds for a real name server
UDP_ROOM: Final = 65535
HOSTS_HEAD: Final = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"


class Names:
    """`given`: names and patterns with their addresses, or functions of a name; "NXDOMAIN": there is none.

    `wanted`: names that get an address of no host if nothing else is known. `asks`: whether a name that nobody knows
    may be asked for at a server. `note` is told of each answer of a server.
    """

    def __init__(
        self,
        given: Mapping[str, Answer] | Resolver | None,
        wanted: Collection[str] = (),
        *,
        asks: Callable[[str, Address], bool] = lambda name, server: True,
        note: Callable[[str, str, list[str] | None], None] | None = None,
        taped: Callable[[str, str], list[str] | None] | None = None,
    ) -> None:
        self._function = given if callable(given) else None
        self._given: dict[str, list[str]] = {}
        for name, answer in ({} if given is None or callable(given) else given).items():
            if not NAME.fullmatch(name):
                raise HandlerError(
                    f"{name!r} is no name of a host; *.example.com and * are patterns"
                )
            self._given[name.lower().rstrip(".")] = _checked(name, answer)
        self._wanted = list(wanted)
        self._asks, self._note, self._taped = asks, note, taped
        self._fake: dict[str, str] = {}
        self._hosts = itertools.islice(FAKE.hosts(), 1, None)
        self._known: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        for name, answers in self._given.items():
            if "*" not in name:
                self._learn(name, answers)
                self._tell(name, answers)

    @property
    def is_closed(self) -> bool:
        """No server is ever asked."""
        return "*" in self._given or self._taped is not None

    def of(self, address: Address) -> Collection[str]:
        """The names that were resolved to an address."""
        return self._known.get(address.plain_host, ())

    def look_up(self, name: str) -> list[str] | None:
        """The addresses of a name; [] if there is none, None if that is not known here."""
        name = name.lower().rstrip(".")
        if self._function is not None:
            answer = self._function(name)
            if answer is not None:
                return self._learn(name, _checked(name, answer))
        if name in self._given:
            return self._given[name]
        patterns = [one for one in self._given if "*" in one and fnmatch.fnmatchcase(name, one)]
        if patterns:
            return self._learn(name, self._given[max(patterns, key=len)])
        if any(fits_name(one, name) for one in self._wanted):
            with self._lock:
                if name not in self._fake:
                    self._fake[name] = str(next(self._hosts))
            return self._learn(name, [self._fake[name]])
        return None

    def _learn(self, name: str, answers: list[str]) -> list[str]:
        with self._lock:
            for one in answers:
                self._known.setdefault(one, set()).add(name)
        return answers

    def _tell(self, name: str, answers: list[str]) -> None:
        """Notes what is known of a name, as a server would have answered."""
        if self._note is not None:
            four = [one for one in answers if ":" not in one]
            six = [one for one in answers if ":" in one]
            self._note(name, "A", four if answers else None)
            self._note(name, "AAAA", six if answers else None)

    def hosts(self, text: str) -> str:
        """What /etc/hosts is to say: what it says, without the names that are known better."""
        own = {name: all_ for name, all_ in self._given.items() if "*" not in name}
        lines = []
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            kept = [word for word in words[1:] if self._unknown(word)]
            if not words or len(kept) == len(words) - 1:
                lines.append(line)
            elif kept:
                lines.append("\t".join([words[0], *kept]))
        lines += [f"{one}\t{name}" for name, all_ in own.items() for one in all_]
        return "\n".join(lines) + "\n"

    def _unknown(self, name: str) -> bool:
        return name.lower() == "localhost" or self.look_up(name) is None

    # ---- answering ----

    def answer(self, query: bytes, server: Address, *, udp: bool) -> bytes:
        """The answer to a query for `server`; b"" for what is no query."""
        try:
            asked = dns.question(query)
        except dns.MessageError:
            return b""
        if asked.type == dns.PTR:
            host = dns.reverse_address(asked.name)
            known = sorted(self._known.get(host or "", ()))
            if known:
                return dns.reply(asked, known, udp=udp)
        else:
            found = self.look_up(asked.name)
            if found is not None:
                self._tell(asked.name, found)
                return dns.reply(asked, found, code=0 if found else dns.NXDOMAIN, udp=udp)
        if self._taped is not None:
            taped = self._taped(asked.name, asked.type_name)
            if taped and asked.type != dns.PTR:
                self._learn(asked.name, taped)
            code = 0 if taped is not None else dns.NXDOMAIN
            return dns.reply(asked, taped or [], code=code, udp=udp)
        if self.is_closed:
            return dns.reply(asked, [], code=dns.NXDOMAIN, udp=udp)
        if not self._asks(asked.name, server):
            return dns.reply(asked, [], code=dns.REFUSED, udp=udp)
        return self._ask_on(asked, query, server, udp=udp)

    def _ask_on(self, asked: dns.Question, query: bytes, server: Address, *, udp: bool) -> bytes:
        try:
            text = _exchange(query, server, udp=udp)
            code, found = dns.addresses(text)
        except (OSError, dns.MessageError):
            return dns.reply(asked, [], code=dns.SERVFAIL, udp=udp)
        if asked.type != dns.PTR:
            self._learn(asked.name, found)
        if self._note is not None:
            self._note(asked.name, asked.type_name, None if code == dns.NXDOMAIN else found)
        return text


def _checked(name: str, answer: Answer) -> list[str]:
    answers = [answer] if isinstance(answer, str) else list(answer or ())
    if answers == [NOWHERE]:
        return []
    for one in answers:
        try:
            ipaddress.ip_address(one)
        except ValueError:
            raise HandlerError(
                f"{name}={one}: {one!r} is no address; there are also NXDOMAIN, and ADDR,ADDR"
            ) from None
    return answers


def _exchange(query: bytes, server: Address, *, udp: bool) -> bytes:
    host = server.plain_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as s:
        s.settimeout(TIMEOUT)
        s.connect((host, server.port))
        if udp:
            s.send(query)
            while True:
                text = s.recv(UDP_ROOM)
                if text[:2] == query[:2]:
                    return text
        s.sendall(len(query).to_bytes(2, "big") + query)
        return read_framed(s) or b""


def read_framed(stream: socket.socket) -> bytes | None:
    """One message of a stream, with its length before it; None at the end."""
    head = _exactly(stream, 2)
    return _exactly(stream, int.from_bytes(head, "big")) if head else None


def _exactly(stream: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def serve_stream(s: socket.socket, names: Names, server: Address) -> None:
    """Answers what comes over a connection."""
    with s, contextlib.suppress(OSError):
        while query := read_framed(s):
            text = names.answer(query, server, udp=False)
            s.sendall(len(text).to_bytes(2, "big") + text)
