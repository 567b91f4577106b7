# SPDX-License-Identifier: Apache-2.0
"""A socket address as a value: from the bytes of a sockaddr and back, from text and back."""

import _socket as socket  # `socket` adds nothing that is needed here, and takes longer to import than all of this
import re
import struct
from typing import NamedTuple

_PORT_MAX = 0xFFFF
_MAPPED = "::ffff:"
_UNIX_PATH_MAX = 107
_TEXT = re.compile(r"(?:\[(?P<six>[^]]*)\]|(?P<four>[^:\[\]/]*)):(?P<port>\d+)$")


class Address(NamedTuple):
    """A socket address. `host` and `port` of the Internet's, `path` of a Unix socket ("@name": an abstract one).

    `raw` is the sockaddr as it was in memory; of other families it is all that is known.
    """

    family: int
    host: str = ""
    port: int = 0
    path: str = ""
    raw: bytes = b""

    def __eq__(self, other: object) -> bool:
        return tuple(self[:4]) == tuple(other[:4]) if isinstance(other, Address) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:4])

    @classmethod
    def parse(cls, data: bytes) -> "Address":
        """The value of a sockaddr; family AF_UNSPEC if there are no bytes."""
        data = bytes(data)
        family = int.from_bytes(data[:2], "little")
        if family == socket.AF_INET and len(data) >= 8:
            port, host = struct.unpack_from("!H4s", data, 2)
            return cls(family, socket.inet_ntoa(host), port, raw=data)
        if family == socket.AF_INET6 and len(data) >= 24:
            port, _, six = struct.unpack_from("!HI16s", data, 2)
            return cls(family, socket.inet_ntop(socket.AF_INET6, six), port, raw=data)
        if family == socket.AF_UNIX:
            return cls(family, path=_unix_path(data[2:]), raw=data)
        return cls(family, raw=data)

    @classmethod
    def of(cls, text: str) -> "Address":
        """`127.0.0.1:80`, `[::1]:80`, `/run/socket` or `@abstract`. ValueError for anything else."""
        if text.startswith(("/", "@")):
            return cls(socket.AF_UNIX, path=text)
        found = _TEXT.match(text)
        port = int(found["port"]) if found else -1
        if not found or port > _PORT_MAX:
            raise ValueError(
                f"{text!r} is no address; there are 127.0.0.1:80, [::1]:80, /path and @name"
            )
        family = socket.AF_INET if found["four"] is not None else socket.AF_INET6
        host = found["four"] if found["four"] is not None else found["six"]
        host = "127.0.0.1" if host == "localhost" else host
        try:
            socket.inet_pton(family, host)
        except OSError:
            raise ValueError(
                f"{host!r} in {text!r} is no numeric address; names are not looked up"
            ) from None
        return cls(family, host, port)

    def within(self, family: int) -> "Address":
        """The same for a socket of another family: an IPv4 address in an IPv6 socket is a mapped one."""
        if family == socket.AF_INET6 and self.family == socket.AF_INET:
            return Address(family, _MAPPED + self.host, self.port)
        return self

    def pack(self) -> bytes:
        """The bytes of the sockaddr. ValueError for what cannot be written as one."""
        if self.raw:
            return self.raw
        if self.family == socket.AF_INET:
            return struct.pack("<H", self.family) + struct.pack(
                "!H4s8x", self.port, socket.inet_pton(self.family, self.host)
            )
        if self.family == socket.AF_INET6:
            host = socket.inet_pton(self.family, self.host)
            return struct.pack("<H", self.family) + struct.pack("!HI16sI", self.port, 0, host, 0)
        if self.family == socket.AF_UNIX:
            path = self.path.encode("utf-8", "surrogateescape")
            if len(path) > _UNIX_PATH_MAX:
                raise ValueError(f"{self.path!r} is too long for a socket's path")
            tail = b"\0" + path[1:] if path.startswith(b"@") else path + b"\0"
            return struct.pack("<H", self.family) + tail
        raise ValueError(f"there is no way to write an address of family {self.family}")

    @property
    def plain_host(self) -> str:
        """`host`, and of a mapped IPv4 address the IPv4 part."""
        host = self.host
        return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host

    def __str__(self) -> str:
        if self.family == socket.AF_INET:
            return f"{self.host}:{self.port}"
        if self.family == socket.AF_INET6:
            return f"[{self.host}]:{self.port}"
        if self.family == socket.AF_UNIX:
            return self.path
        return f"family {self.family}"


def _unix_path(data: bytes) -> str:
    if data[:1] == b"\0" and len(data) > 1:
        return "@" + data[1:].decode("utf-8", "surrogateescape")
    return data.split(b"\0")[0].decode("utf-8", "surrogateescape")
