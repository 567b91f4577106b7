# SPDX-License-Identifier: Apache-2.0
"""What a descriptor can stand for, as values and as text: a file, a socket with its addresses, something else."""

import socket
import struct
from dataclasses import dataclass
from typing import Final

AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
STREAM: Final = 1
DGRAM: Final = 2
_KINDS: Final = {
    (AF_INET, STREAM): "TCP",
    (AF_INET6, STREAM): "TCPv6",
    (AF_INET, DGRAM): "UDP",
    (AF_INET6, DGRAM): "UDPv6",
    (AF_UNIX, STREAM): "UNIX-STREAM",
    (AF_UNIX, DGRAM): "UNIX-DGRAM",
    (AF_UNIX, 5): "UNIX-SEQPACKET",
}


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket. Addresses are in words, "" where they are not known."""

    family: int
    type: int
    local: str = ""
    peer: str = ""

    @property
    def text(self) -> str:
        """As strace -yy has it: TCP:[127.0.0.1:80->127.0.0.1:4000]."""
        kind = _KINDS.get((self.family, self.type), "socket")
        known = f"{self.local}->{self.peer}" if self.peer else self.local
        return f"{kind}:[{known}]" if known or kind != "socket" else "socket:[?]"


Object = str | Socket  # a str: as readlink("/proc/self/fd/N") gives it


def text_of(thing: Object) -> str:
    return thing if isinstance(thing, str) else thing.text


def readable(text: str) -> str:
    """A path for JSON and tables, which hold text only: bytes that are not UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def address_text(data: bytes) -> str:
    """A sockaddr in words: 127.0.0.1:80, [::1]:80, unix:/run/x, unix:@name; "" for others and for none."""
    if len(data) < 2:
        return ""
    family = int.from_bytes(data[:2], "little")
    try:
        if family == AF_INET:
            port, address = struct.unpack_from("!H4s", data, 2)
            return f"{socket.inet_ntoa(address)}:{port}"
        if family == AF_INET6:
            port, _flow, address = struct.unpack_from("!HI16s", data, 2)
            return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"
    except struct.error:  # shorter than its family's structure
        return ""
    if family != AF_UNIX or len(data) == 2:
        return ""
    path = data[2:]
    if path[0] == 0:
        return "unix:@" + path[1:].decode("utf-8", "replace")
    return "unix:" + path.split(b"\0")[0].decode("utf-8", "replace")
