# SPDX-License-Identifier: Apache-2.0
"""struct msghdr as text, from the flat form in which agent, proxy and log carry it: `struct flat_msg`, then the
address, the ancillary data, and the bytes of all buffers together.
"""

import struct
from typing import Final, NamedTuple

from lsca.table.addresses import show_address_bytes
from lsca.table.arguments import Argument, Kind, Message, Messages
from lsca.table.constants import Enum, Flags
from lsca.table.text import Piece, View, quote, show_address, show_new_fd

MSG_FLAGS: Final = Flags(
    "MSG_OOB=1 MSG_PEEK=2 MSG_DONTROUTE=4 MSG_CTRUNC=8 MSG_PROBE=0x10 MSG_TRUNC=0x20 "
    "MSG_DONTWAIT=0x40 MSG_EOR=0x80 MSG_WAITALL=0x100 MSG_FIN=0x200 MSG_SYN=0x400 "
    "MSG_CONFIRM=0x800 MSG_RST=0x1000 MSG_ERRQUEUE=0x2000 MSG_NOSIGNAL=0x4000 MSG_MORE=0x8000 "
    "MSG_WAITFORONE=0x10000 MSG_BATCH=0x40000 MSG_ZEROCOPY=0x4000000 MSG_FASTOPEN=0x20000000 "
    "MSG_CMSG_CLOEXEC=0x40000000"
)
LEVELS: Final = Enum(
    "SOL_IP=0 SOL_SOCKET=1 SOL_TCP=6 SOL_UDP=17 SOL_IPV6=41 SOL_ICMPV6=58 SOL_SCTP=132 "
    "SOL_UDPLITE=136 SOL_RAW=255 SOL_PACKET=263 SOL_NETLINK=270 SOL_RDS=276 SOL_ALG=279 "
    "SOL_KCM=281 SOL_TLS=282 SOL_XDP=283 SOL_MPTCP=284"
)
SCM: Final = Enum(
    "SCM_RIGHTS=1 SCM_CREDENTIALS SCM_SECURITY SCM_PIDFD SO_TIMESTAMP=29 SO_TIMESTAMPNS=35 "
    "SO_TIMESTAMPING=37"
)
FLAT: Final = struct.Struct("<8I")  # struct flat_msg of native/shared/abi.h
CONTROL: Final = struct.Struct("<Qii")  # struct cmsghdr
SOL_SOCKET: Final = LEVELS["SOL_SOCKET"]


class Flat(NamedTuple):
    """`struct flat_msg`."""

    name_len: int
    control_len: int
    data_len: int
    flags: int
    has_name: int
    has_control: int
    result: int
    pad: int


def show_control(data: bytes, view: View) -> str:
    """Ancillary data, item by item; descriptors and credentials are taken apart."""
    items = []
    at = 0
    while at + CONTROL.size <= len(data):
        length, level, kind = CONTROL.unpack_from(data, at)
        if length < CONTROL.size or at + length > len(data):
            break
        body = data[at + CONTROL.size : at + length]
        name = SCM(kind, view) if level == SOL_SOCKET else f"{kind:#x}"
        items.append(
            f"{{cmsg_len={length}, cmsg_level={LEVELS(level, view)}, cmsg_type={name}, "
            f"cmsg_data={_control_body(level, kind, body, view)}}}"
        )
        at += (length + 7) & ~7
    return "[" + ", ".join(items) + "]"


def _control_body(level: int, kind: int, body: bytes, view: View) -> str:
    if level == SOL_SOCKET and kind == SCM["SCM_RIGHTS"]:
        count = len(body) // 4
        fds = struct.unpack_from(f"<{count}i", body)
        return "[" + ", ".join(show_new_fd(fd, view) for fd in fds) + "]"
    if level == SOL_SOCKET and kind == SCM["SCM_CREDENTIALS"] and len(body) >= 12:
        pid, uid, gid = struct.unpack_from("<iII", body)
        return f"{{pid={pid}, uid={uid}, gid={gid}}}"
    return quote(body, len(body), None, view.hex)


def show_message(piece: Piece, view: View, total: int | None = None) -> str:
    """One message. `total`: how many bytes of data there were, where more than the kept ones are known of."""
    if len(piece.data) < FLAT.size:
        return "{...}"
    flat = Flat._make(FLAT.unpack_from(piece.data))
    at = FLAT.size
    parts = []
    if flat.has_name and flat.name_len:
        name = piece.data[at : at + flat.name_len]
        at += flat.name_len
        parts.append(f"msg_name={show_address_bytes(name, view)}, msg_namelen={flat.name_len}")
    else:
        parts.append("msg_name=NULL, msg_namelen=0")
    control = piece.data[at : at + flat.control_len] if flat.has_control else b""
    at += len(control)
    data = piece.data[at : at + flat.data_len]
    full = max(len(data), flat.data_len if total is None else total)
    parts.append(
        f"msg_iov=[{{iov_base={quote(data, full, view.strings, view.hex)}, iov_len={full}}}], msg_iovlen=1"
    )
    if control:
        parts.append(f"msg_control={show_control(control, view)}")
    parts.append(f"msg_controllen={flat.control_len if flat.has_control else 0}")
    parts.append(f"msg_flags={MSG_FLAGS(flat.flags, view)}")
    return "{" + ", ".join(parts) + "}"


def _write_message(argument: Argument, view: View, index: int) -> str:
    out = argument.kind is Kind.MSG_OUT
    piece = (view.exit if out else view.entry).get(index)
    if not piece or (out and view.failed):
        return show_address(view.args[index], view)
    total = view.ret if view.ret is not None and view.ret >= 0 else None
    return show_message(piece, view, total)


def _write_messages(argument: Argument, view: View, index: int) -> str:
    out = argument.kind is Kind.MMSG_OUT
    piece = (view.exit if out else view.entry).get(index)
    if not piece or (out and view.failed):
        return show_address(view.args[index], view)
    texts = []
    at = 0
    while at + FLAT.size <= len(piece.data):
        flat = Flat._make(FLAT.unpack_from(piece.data, at))
        size = FLAT.size + flat.name_len + flat.control_len + flat.data_len
        part = piece.data[at : at + size]
        text = show_message(Piece(part, size), view)
        texts.append(f"{{msg_hdr={text}, msg_len={flat.result}}}")
        at += size
    return "[" + ", ".join(texts) + "]"


def MsgIn() -> bytes:
    """The message that sendmsg sends: address, ancillary data, buffers."""
    return Message(Kind.MSG_IN, _write_message)


def MsgOut() -> bytes:
    """Where recvmsg puts a message."""
    return Message(Kind.MSG_OUT, _write_message)


def MmsgIn(*, count: str) -> bytes:
    """The messages that sendmmsg sends."""
    return Messages(Kind.MMSG_IN, _write_messages, count=count)


def MmsgOut(*, count: str) -> bytes:
    """Where recvmmsg puts messages."""
    return Messages(Kind.MMSG_OUT, _write_messages, count=count)
