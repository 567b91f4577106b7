# SPDX-License-Identifier: Apache-2.0
"""Which address a program means, where its socket is connected to another one: for getpeername, recvfrom.

A listener stands for one address, whoever is connected to it; a socket that was led to somebody else's address is known
by its own number.
"""

from collections.abc import Callable
from typing import Any

from lsca.live.address import Address


class Meant:
    """The addresses that were meant. Several threads may ask and tell at once."""

    def __init__(self) -> None:
        self._stands: dict[tuple[str, int], Address] = {}
        self._led: dict[str, tuple[Address, Address]] = {}

    def stand(self, listener: Address, meant: Address) -> None:
        """All that is connected to `listener` means `meant`."""
        self._stands[_key(listener)] = meant

    def lead(self, socket: str, target: Address, meant: Address) -> None:
        """The socket, "socket:[123]", was led to `target` and means `meant`."""
        self._led[socket] = (target, meant)

    def by(self, call: Any) -> Callable[[Address], Address | None]:
        """What the call's socket means by an address; None: that address."""

        def meant(address: Address) -> Address | None:
            found = self._stands.get(_key(address))
            if found is None:
                led = self._led.get(call.file.path)
                found = led[1] if led is not None and _key(led[0]) == _key(address) else None
            return found

        return meant


def _key(address: Address) -> tuple[str, int]:
    return (address.path or address.plain_host, address.port)
