# SPDX-License-Identifier: Apache-2.0
"""Messages of the domain name system, as far as a small responder needs them (RFC 1035): one question, A, AAAA, PTR.

Nothing here sends anything. What comes from a program may be anything: MessageError for what cannot be read.
"""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

HEAD: Final = struct.Struct("!HHHHHH")
TAIL: Final = struct.Struct("!HHIH")
A, CNAME, PTR, AAAA, ANY = 1, 5, 12, 28, 255
TYPES: Final = {A: "A", CNAME: "CNAME", PTR: "PTR", AAAA: "AAAA", ANY: "ANY"}
IN: Final = 1
NXDOMAIN: Final = 3
SERVFAIL: Final = 2
REFUSED: Final = 5
QUERY_MASK: Final = 0xF800  # QR and the opcode
ANSWERED: Final = 0x8480  # QR, AA, RA
WANTS: Final = 0x0100  # RD
TRUNCATED: Final = 0x0200
POINTERS_MOST: Final = 64
UDP_MOST: Final = 512
TTL: Final = 60  # seconds


class MessageError(ValueError):
    """What came is no message, or one of another kind."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a name in lower case without the last dot, and a type."""

    id: int
    flags: int
    name: str
    type: int
    raw: bytes  # as it stood in the message

    @property
    def type_name(self) -> str:
        return TYPES.get(self.type, f"TYPE{self.type}")


def question(data: bytes) -> Question:
    """The one question of a query. MessageError."""
    if len(data) < HEAD.size:
        raise MessageError("too short")
    number, flags, count, *_ = HEAD.unpack_from(data)
    if flags & QUERY_MASK or count != 1:
        raise MessageError("no query, or not one question")
    name, at = read_name(data, HEAD.size)
    if at + 4 > len(data):
        raise MessageError("cut short")
    kind, _ = struct.unpack_from("!HH", data, at)
    return Question(number, flags, name.lower(), kind, data[HEAD.size : at + 4])


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name, and where what follows it begins. MessageError."""
    labels: list[str] = []
    end, jumps = -1, 0
    while True:
        if at >= len(data):
            raise MessageError("a name leads out of the message")
        length = data[at]
        if length >= 0xC0:
            if at + 1 >= len(data) or (jumps := jumps + 1) > POINTERS_MOST:
                raise MessageError("a name leads nowhere")
            end = at + 2 if end < 0 else end
            at = (length & 0x3F) << 8 | data[at + 1]
            continue
        if length > 63 or at + 1 + length > len(data):
            raise MessageError("a label is too long")
        at += 1
        if not length:
            return ".".join(labels), at if end < 0 else end
        labels.append(data[at : at + length].decode("ascii", "backslashreplace"))
        at += length


def write_name(name: str) -> bytes:
    labels = [
        label.encode("ascii", "replace")[:63] for label in name.strip(".").split(".") if label
    ]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reply(asked: Question, answers: list[str], *, code: int = 0, udp: bool = False) -> bytes:
    """The answer to a question: addresses, or for PTR names; those of another family are left out."""
    records = []
    for answer in answers:
        data = _record(asked.type, answer)
        if data is not None:
            kind, body = data
            records.append(b"\xc0\x0c" + TAIL.pack(kind, IN, TTL, len(body)) + body)
    flags = ANSWERED | (asked.flags & WANTS) | code
    message = HEAD.pack(asked.id, flags, 1, len(records), 0, 0) + asked.raw + b"".join(records)
    if udp and len(message) > UDP_MOST:
        return HEAD.pack(asked.id, flags | TRUNCATED, 1, 0, 0, 0) + asked.raw
    return message


def _record(wanted: int, answer: str) -> tuple[int, bytes] | None:
    if wanted == PTR:
        return PTR, write_name(answer)
    try:
        address = ipaddress.ip_address(answer)
    except ValueError:
        return None
    kind = A if address.version == 4 else AAAA
    return (kind, address.packed) if wanted in (kind, ANY) else None


def addresses(data: bytes) -> tuple[int, list[str]]:
    """The code of a reply, and the addresses and names (of PTR) in it. MessageError."""
    if len(data) < HEAD.size:
        raise MessageError("too short")
    _, flags, questions, count, *_ = HEAD.unpack_from(data)
    at = HEAD.size
    for _ in range(questions):
        _, at = read_name(data, at)
        at += 4
    found: list[str] = []
    for _ in range(count):
        _, at = read_name(data, at)
        if at + TAIL.size > len(data):
            raise MessageError("cut short")
        kind, _, _, length = TAIL.unpack_from(data, at)
        at += TAIL.size
        body = data[at : at + length]
        if (kind, length) in ((A, 4), (AAAA, 16)):
            found.append(str(ipaddress.ip_address(body)))
        elif kind == PTR:
            found.append(read_name(data, at)[0])
        at += length
    return flags & 0xF, found


def reverse_address(name: str) -> str | None:
    """The address that a name such as 1.0.0.127.in-addr.arpa asks about."""
    parts = name.split(".")
    try:
        if name.endswith(".in-addr.arpa"):
            return str(ipaddress.IPv4Address(".".join(reversed(parts[:-2]))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(parts[:-2]))
            return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
    except ValueError:
        pass
    return None
