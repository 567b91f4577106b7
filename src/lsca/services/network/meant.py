# SPDX-License-Identifier: Apache-2.0
"""Which address a program means, where its socket has to do with another one: for getpeername, getsockname, recvfrom.

What stands for one address does so for whoever is connected to it; a socket that was led to somebody else's address is
known by its own number.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from lsca.live.address import Address

INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
LEAST: Final[dict[int, int]] = {socket.AF_INET: 16, socket.AF_INET6: 24}  # bytes
KNOWN_MOST: Final = 10_000  # sockets, and who has sent to them: those that were heard of last
LINK_LOCAL: Final = "fe80:"
RAW_SIX: Final = 28
Key = tuple[str, int]


def is_whole(address: Address) -> bool:
    """Whether the kernel takes it for an address: it refuses what is cut short (EINVAL)."""
    return (
        address.family not in LEAST or not address.raw or len(address.raw) >= LEAST[address.family]
    )


class Meant:
    """The addresses that were meant. Several threads may ask and tell at once."""

    def __init__(self) -> None:
        self._stands: dict[tuple[bool, Key], Address] = {}
        self._led: OrderedDict[str, tuple[Address, Address]] = OrderedDict()
        self._own: OrderedDict[str, str] = OrderedDict()
        self._heard: OrderedDict[tuple[str, Key], None] = OrderedDict()

    def stand(self, place: Address, meant: Address, *, datagrams: bool = False) -> None:
        """All that is connected to `place`, a listener or a box, means `meant`."""
        self._stands[datagrams, _key(place)] = meant

    def lead(self, sock: str, target: Address, meant: Address) -> None:
        """The socket, "socket:[123]", was led to `target` and means `meant`."""
        _keep(self._led, sock, (target, meant))

    def own(self, sock: str, host: str) -> None:
        """The socket would have another host of its own if it were connected to what it means."""
        _keep(self._own, sock, host)

    def has_heard(self, sock: str, address: Address) -> bool:
        """Whether a socket has received something from there: what it sends there is an answer."""
        return (sock, _key(address)) in self._heard

    def by(
        self, call: Any, *, datagrams: bool | None = None
    ) -> Callable[[Address], Address | None]:
        """What the call's socket means by an address; None: that address. `datagrams`: its kind, if that is known."""

        def meant(address: Address) -> Address | None:
            kinds = (True, False) if datagrams is None else (datagrams,)
            found = [m for kind in kinds if (m := self._stands.get((kind, _key(address))))]
            if len(found) == len(kinds) > 1:  # one port for TCP and UDP
                found = found[:1] if call.file.protocol.startswith("UDP") else found[1:]
            if found:
                return _as_kernel(found[0], address.family)
            led = self._led.get(call.file.path)
            if led is not None and _key(led[0]) == _key(address):
                return _as_kernel(led[1], address.family)
            if datagrams and address.family in INTERNET:
                _keep(self._heard, (call.file.path, _key(address)), None)
            return None

        return meant

    def own_by(self, call: Any) -> Callable[[Address], Address | None]:
        """The own address that the call's socket should have; None: the one that it has."""

        def own(address: Address) -> Address | None:
            host = self._own.get(call.file.path)
            if host is None or address.family not in INTERNET:
                return None
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return Address(family, host, address.port).within(address.family)

        return own


def _keep(known: "OrderedDict[Any, Any]", key: object, value: object) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > KNOWN_MOST:
        known.popitem(last=False)


def _key(address: Address) -> Key:
    return (address.path or address.plain_host, address.port)


def _as_kernel(address: Address, family: int) -> Address:
    """Without what programs leave behind it in memory."""
    if address.host.startswith(LINK_LOCAL):
        return address._replace(raw=address.raw[:RAW_SIX])
    return address._replace(raw=b"").within(family)
