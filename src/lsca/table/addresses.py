# SPDX-License-Identifier: Apache-2.0
"""Socket addresses as text: Internet, Unix, netlink, packet; and interface requests, which carry one."""

import _socket as socket  # as in lsca.live.address
import struct
from collections.abc import Callable
from typing import Final

from lsca.live.address import Address
from lsca.table.arguments import Kind, memory
from lsca.table.constants import Enum
from lsca.table.layouts import SIZE_1, Layout, number
from lsca.table.text import MACHINES, Piece, View, quote, show_int

FAMILIES: Final = Enum(
    "AF_UNSPEC AF_UNIX AF_INET AF_AX25 AF_IPX AF_APPLETALK AF_NETROM AF_BRIDGE AF_ATMPVC AF_X25 "
    "AF_INET6 AF_ROSE AF_DECnet AF_NETBEUI AF_SECURITY AF_KEY AF_NETLINK AF_PACKET AF_ASH "
    "AF_ECONET AF_ATMSVC AF_RDS AF_SNA AF_IRDA AF_PPPOX AF_WANPIPE AF_LLC AF_IB AF_MPLS AF_CAN "
    "AF_TIPC AF_BLUETOOTH AF_IUCV AF_RXRPC AF_ISDN AF_PHONET AF_IEEE802154 AF_CAIF AF_ALG AF_NFC "
    "AF_VSOCK AF_KCM AF_QIPCRTR AF_SMC AF_XDP AF_MCTP",
    unknown="AF_???",
)
ETHERNET: Final = {3: "ETH_P_ALL", 0x800: "ETH_P_IP", 0x806: "ETH_P_ARP", 0x86DD: "ETH_P_IPV6"}
NAME_SIZE: Final = 16  # IFNAMSIZ
UNIX_PATH_AT: Final = 2


def show_address_bytes(data: bytes, view: View, full: int | None = None) -> str:
    """A sockaddr of whatever family; `full` is its length where not all of it was kept."""
    if len(data) < 2:
        return quote(data, len(data), None) if data else "{}"
    family = int.from_bytes(data[:2], "little")
    show = _FAMILIES_SHOWN.get(family)
    name = FAMILIES(family, view)
    try:
        rest = show(data) if show else f"sa_data={quote(data[2:], len(data) - 2, None)}"
    except (struct.error, ValueError):  # shorter than its family's structure
        rest = f"sa_data={quote(data[2:], len(data) - 2, None)}"
    cut = "..." if full is not None and full > len(data) else ""
    return f"{{sa_family={name}{', ' if rest else ''}{rest}{cut}}}"


def _inet(data: bytes) -> str:
    port, address = struct.unpack_from("!H4s", data, 2)
    return f'sin_port=htons({port}), sin_addr=inet_addr("{socket.inet_ntoa(address)}")'


def _inet6(data: bytes) -> str:
    port, flow, address = struct.unpack_from("!HI16s", data, 2)
    (scope,) = struct.unpack_from("<I", data, 24)
    text = socket.inet_ntop(socket.AF_INET6, address)
    return (
        f"sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
        f'inet_pton(AF_INET6, "{text}", &sin6_addr), sin6_scope_id={scope}'
    )


def _unix(data: bytes) -> str:
    path = data[UNIX_PATH_AT:]
    if not path:
        return ""
    if path[0] == 0:
        return f"sun_path=@{quote(path[1:], len(path) - 1, None)}"
    path = path.split(b"\0")[0]
    return f"sun_path={quote(path, len(path), None)}"


def _netlink(data: bytes) -> str:
    pid, groups = struct.unpack_from("<II", data, 4)
    return f"nl_pid={pid}, nl_groups={groups:08x}"


def _packet(data: bytes) -> str:
    (protocol,) = struct.unpack_from("!H", data, 2)
    index, hardware, kind, length = struct.unpack_from("<iHBB", data, 4)
    return (
        f"sll_protocol=htons({ETHERNET.get(protocol, f'{protocol:#x}')}), sll_ifindex={index}, "
        f"sll_hatype={hardware}, sll_pkttype={kind}, sll_halen={length}"
    )


def _vsock(data: bytes) -> str:
    port, cid = struct.unpack_from("<II", data, 4)
    return f"svm_cid={cid}, svm_port={port}"


_FAMILIES_SHOWN: Final[dict[int, Callable[[bytes], str]]] = {
    FAMILIES["AF_UNIX"]: _unix,
    FAMILIES["AF_INET"]: _inet,
    FAMILIES["AF_INET6"]: _inet6,
    FAMILIES["AF_NETLINK"]: _netlink,
    FAMILIES["AF_PACKET"]: _packet,
    FAMILIES["AF_VSOCK"]: _vsock,
}


def _show_sockaddr(piece: Piece, view: View) -> str:
    return show_address_bytes(piece.data, view, piece.full)


def _interface(piece: Piece) -> str:
    name = piece.data[:NAME_SIZE].split(b"\0")[0]
    return f"ifr_name={quote(name, len(name), None)}"


def _show_interface(piece: Piece, view: View) -> str:
    address = show_address_bytes(piece.data[NAME_SIZE : NAME_SIZE + 16], view)
    return f"{{{_interface(piece)}, ifr_addr={address}}}"


def _show_interface_value(piece: Piece, view: View) -> str:
    value = int.from_bytes(piece.data[NAME_SIZE : NAME_SIZE + 4], "little", signed=True)
    return f"{{{_interface(piece)}, ifr_value={value}}}"


SOCKADDR: Final = Layout("struct sockaddr", SIZE_1, _show_sockaddr)
SOCKLEN: Final = number("socklen_t", "i", show_int, changes=True)
INTERFACE_REQUEST: Final = Layout("struct ifreq", dict.fromkeys(MACHINES, 40), _show_interface)
INTERFACE_VALUE: Final = Layout("struct ifreq", dict.fromkeys(MACHINES, 40), _show_interface_value)


def SockaddrIn(*, length: str) -> Address:
    """A socket address that the call reads, of `args[length]` bytes."""
    return memory(Kind.IN, SOCKADDR, Address, length=length)


def SockaddrOut(*, length_at: str) -> Address:
    """Room for a socket address; `length_at` points to how much there is, and then to how much was needed."""
    return memory(Kind.OUT, SOCKADDR, Address, length_at=length_at)
