# SPDX-License-Identifier: Apache-2.0
"""What `Net` does about datagrams: decides about calls that send them somewhere, and has them sent to a box of post.py
where that takes more than another address; shows programs the addresses that they mean where they receive some.
"""

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import lsca
from lsca import calls as c
from lsca.live.address import Address
from lsca.live.opened import File
from lsca.services import messages
from lsca.services.network.boxes import Answerer, Box, is_for_many
from lsca.services.network.meant import INTERNET, Meant, is_whole
from lsca.services.network.post import Post
from lsca.services.network.tape import Player

UDP: Final = ("UDP", "UDPv6")
PROTOCOLS: Final = (*UDP, "UDPLITE", "UDPLITEv6", "PING", "PINGv6", "UNIX")


class Decides(Protocol):
    """What is asked of `Net`."""

    def judge(self, call: Any, operation: str, address: Address) -> lsca.Verdict | None: ...
    def datagram_route(self, address: Address) -> Address | Answerer | None: ...
    def name_server(self, address: Address) -> Address | None: ...


class Datagrams:
    """The handlers. `is_shaped`: all of the Internet's go by way of boxes."""

    def __init__(
        self, net: Decides, post: Post, meant: Meant, *, is_shaped: bool, player: Player | None
    ) -> None:
        self._net, self._post, self._meant = net, post, meant
        self._is_shaped, self._player = is_shaped, player

    def rules(self) -> "list[tuple[lsca.Rule[Any], Callable[[Any], lsca.Verdict]]]":
        """For what programs receive, and with which handler."""
        return [
            (lsca.on(c.recvfrom, given="src_addr"), self._recvfrom),
            (lsca.on(c.recvmsg, given="msg"), lambda call: self._receive(call, 1)),
            (lsca.on(c.recvmmsg), lambda call: self._receive(call, call.vlen)),
            (lsca.on(c.getsockname, given="addr"), self._getsockname),
        ]

    # ---- sending ----

    def connect(self, call: c.connect, address: Address) -> lsca.Verdict:
        """A socket for datagrams that is connected; whether that is allowed has been asked."""
        instead = self._elsewhere(call, address)
        if isinstance(instead, lsca.Verdict):
            return instead
        if isinstance(instead, Box):
            file = call.file
            instead.connected.append(file)
            if instead.local:
                self._meant.own(file.path, instead.local)
            instead = instead.address
        if instead is not None:
            call.replace(addr=instead)
        return lsca.go_on

    def sendto(self, call: c.sendto) -> lsca.Verdict:
        instead = self._instead(call, call.dest_addr)
        if isinstance(instead, lsca.Verdict):
            return instead
        if instead is not None:
            call.replace(dest_addr=instead)
        return lsca.go_on

    def send(self, call: Any, count: int) -> lsca.Verdict:
        """sendmsg, or sendmmsg with `count` messages. Those before one that is refused are sent, as by the kernel."""
        changed = []
        for name in messages.names(call, call.args[1], count):
            instead = self._instead(call, name.address)
            if isinstance(instead, lsca.Verdict):
                before = (name.header - call.args[1]) // messages.MESSAGE_SIZE
                if not before:
                    return instead
                call.replace(vlen=before)
                break
            if instead is not None:
                changed.append((name, instead))
        return messages.send_renamed(call, changed)

    def _instead(self, call: Any, address: Address) -> lsca.Verdict | Address | None:
        """A refusal, another address, or nothing."""
        if not is_whole(address):
            return None
        server = self._net.name_server(address)
        if server is not None:
            return server
        refused = self._net.judge(call, "connect", address)
        if refused is not None:
            return refused
        instead = self._elsewhere(call, address)
        return instead.address if isinstance(instead, Box) else instead

    def _elsewhere(self, call: Any, address: Address) -> lsca.Verdict | Box | Address | None:
        """Where datagrams go that are allowed."""
        target = self._net.datagram_route(address)
        inet = address.family in INTERNET
        shaped = self._is_shaped and (inet or target is not None)
        if (target is None and not shaped) or (inet and not address.port):
            return None
        direct = isinstance(target, Address) and same_kind(address, target)
        file = call.file
        if (direct and not shaped) or not _is_carried(file):
            if not isinstance(target, Address) or not direct:
                return None
            self._meant.lead(file.path, target, address)
            return target.within(address.family)
        if target is None and inet and is_for_many(address):
            return self._for_many(call, address)
        if target is None and self._meant.has_heard(file.path, address):
            return None  # a server that answers: what others begin is theirs, as with connections
        try:
            box = self._post.box(address, target)
        except OSError as error:
            if error.errno == errno.EACCES:
                return None  # to all of a network: whether that may be, the kernel knows
            return lsca.fail(error.errno or errno.ENETUNREACH)
        if self._player is not None:
            box.user = _name(call)
        return box

    def _for_many(self, call: Any, address: Address) -> lsca.Verdict | None:
        if self._player is None:
            return None
        self._player.complain(f"{_name(call)} sends to {address}, and what many get is on no tape")
        return lsca.fail("ENETUNREACH")

    # ---- receiving ----

    def _recvfrom(self, call: c.recvfrom) -> lsca.Verdict:
        size = messages.length(call, call.args[5])
        if messages.made(call) >= 0:
            meant = self._meant.by(call, datagrams=True)
            messages.show(call, call.args[4], call.args[5], size, meant)
        return lsca.go_on

    def _receive(self, call: Any, count: int) -> lsca.Verdict:
        messages.show_received(call, count, self._meant.by(call, datagrams=True))
        return lsca.go_on

    def _getsockname(self, call: c.getsockname) -> lsca.Verdict:
        size = messages.length(call, call.args[2])
        if messages.made(call) >= 0:
            messages.show(call, call.args[1], call.args[2], size, self._meant.own_by(call))
        return lsca.go_on


def same_kind(one: Address, other: Address) -> bool:
    """A socket for the one can be connected to the other."""
    if one.family == socket.AF_UNIX or other.family == socket.AF_UNIX:
        return one.family == other.family
    return one.family == other.family or one.family == socket.AF_INET6


def _is_carried(file: File) -> bool:
    """Whether it is a socket whose datagrams a box may take: UDP, or a Unix one that keeps no connection."""
    protocol = file.protocol
    if protocol != "UNIX":
        return protocol in UDP
    with contextlib.suppress(OSError), socket.socket(fileno=file.duplicate()) as s:
        return s.type == socket.SOCK_DGRAM
    return True


def _name(call: Any) -> str:
    return f"{call.process.name}[{call.process.pid}]"
