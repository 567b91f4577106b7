# SPDX-License-Identifier: Apache-2.0
"""Sockets of every kind."""

from typing import Final

from lsca.table.addresses import FAMILIES, SOCKLEN, SockaddrIn, SockaddrOut
from lsca.table.arguments import Chosen, Fd, In, InOut, Int, Out, Size, Unsigned, Value
from lsca.table.clocks import TIMESPEC, TIMEVAL_STRUCT
from lsca.table.constants import Enum, Flags
from lsca.table.descriptors import PAIR
from lsca.table.effects import Does, Moves, Posts, by
from lsca.table.layouts import SIZE_1, Layout
from lsca.table.messages import LEVELS, MSG_FLAGS, MmsgIn, MmsgOut, MsgIn, MsgOut
from lsca.table.syscall import Support, Syscall
from lsca.table.text import Piece, View, quote, show_int, show_long, signed

TYPES: Final = Enum(
    "SOCK_STREAM=1 SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP SOCK_PACKET=10"
)
TYPE_FLAGS: Final = Flags("SOCK_CLOEXEC=0o2000000 SOCK_NONBLOCK=0o4000", base=TYPES, mask=0xF)
ACCEPT_FLAGS: Final = Flags("SOCK_CLOEXEC=0o2000000 SOCK_NONBLOCK=0o4000")
PROTOCOLS: Final = Enum(
    "IPPROTO_IP=0 IPPROTO_ICMP IPPROTO_IGMP IPPROTO_IPIP=4 IPPROTO_TCP=6 IPPROTO_UDP=17 "
    "IPPROTO_DCCP=33 IPPROTO_IPV6=41 IPPROTO_GRE=47 IPPROTO_ICMPV6=58 IPPROTO_SCTP=132 "
    "IPPROTO_UDPLITE=136 IPPROTO_RAW=255 IPPROTO_MPTCP=262"
)
NETLINK: Final = Enum(
    "NETLINK_ROUTE NETLINK_UNUSED NETLINK_USERSOCK NETLINK_FIREWALL NETLINK_SOCK_DIAG "
    "NETLINK_NFLOG NETLINK_XFRM NETLINK_SELINUX NETLINK_ISCSI NETLINK_AUDIT NETLINK_FIB_LOOKUP "
    "NETLINK_CONNECTOR NETLINK_NETFILTER NETLINK_IP6_FW NETLINK_DNRTMSG NETLINK_KOBJECT_UEVENT "
    "NETLINK_GENERIC"
)
SHUTDOWN: Final = Enum("SHUT_RD SHUT_WR SHUT_RDWR")
SOCKET_OPTIONS: Final = Enum(
    "SO_DEBUG=1 SO_REUSEADDR SO_TYPE SO_ERROR SO_DONTROUTE SO_BROADCAST SO_SNDBUF SO_RCVBUF "
    "SO_KEEPALIVE SO_OOBINLINE SO_NO_CHECK SO_PRIORITY SO_LINGER SO_BSDCOMPAT SO_REUSEPORT "
    "SO_PASSCRED SO_PEERCRED SO_RCVLOWAT SO_SNDLOWAT SO_RCVTIMEO_OLD SO_SNDTIMEO_OLD "
    "SO_BINDTODEVICE=25 SO_ATTACH_FILTER SO_DETACH_FILTER SO_PEERNAME SO_TIMESTAMP_OLD "
    "SO_ACCEPTCONN SO_PEERSEC SO_SNDBUFFORCE SO_RCVBUFFORCE SO_PASSSEC SO_TIMESTAMPNS_OLD SO_MARK "
    "SO_TIMESTAMPING_OLD SO_PROTOCOL SO_DOMAIN SO_RXQ_OVFL SO_WIFI_STATUS SO_PEEK_OFF SO_NOFCS "
    "SO_LOCK_FILTER SO_SELECT_ERR_QUEUE SO_BUSY_POLL SO_MAX_PACING_RATE SO_BPF_EXTENSIONS "
    "SO_INCOMING_CPU SO_ATTACH_BPF SO_ATTACH_REUSEPORT_CBPF SO_ATTACH_REUSEPORT_EBPF SO_CNX_ADVICE "
    "SCM_TIMESTAMPING_OPT_STATS SO_MEMINFO SO_INCOMING_NAPI_ID SO_COOKIE SCM_TIMESTAMPING_PKTINFO "
    "SO_PEERGROUPS SO_ZEROCOPY SO_TXTIME SO_BINDTOIFINDEX SO_TIMESTAMP_NEW SO_TIMESTAMPNS_NEW "
    "SO_TIMESTAMPING_NEW SO_RCVTIMEO_NEW SO_SNDTIMEO_NEW SO_DETACH_REUSEPORT_BPF "
    "SO_PREFER_BUSY_POLL SO_BUSY_POLL_BUDGET SO_NETNS_COOKIE SO_BUF_LOCK SO_RESERVE_MEM SO_TXREHASH "
    "SO_RCVMARK SO_PASSPIDFD SO_PEERPIDFD SO_DEVMEM_LINEAR SO_DEVMEM_DMABUF SO_DEVMEM_DONTNEED "
    "SCM_TS_OPT_ID SO_RCVPRIORITY SO_PASSRIGHTS SO_INQ"
)
TCP_OPTIONS: Final = Enum(
    "TCP_NODELAY=1 TCP_MAXSEG TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT "
    "TCP_LINGER2 TCP_DEFER_ACCEPT TCP_WINDOW_CLAMP TCP_INFO TCP_QUICKACK TCP_CONGESTION TCP_MD5SIG "
    "TCP_THIN_LINEAR_TIMEOUTS=16 TCP_THIN_DUPACK TCP_USER_TIMEOUT TCP_REPAIR TCP_REPAIR_QUEUE "
    "TCP_QUEUE_SEQ TCP_REPAIR_OPTIONS TCP_FASTOPEN TCP_TIMESTAMP TCP_NOTSENT_LOWAT TCP_CC_INFO "
    "TCP_SAVE_SYN TCP_SAVED_SYN TCP_REPAIR_WINDOW TCP_FASTOPEN_CONNECT TCP_ULP TCP_MD5SIG_EXT "
    "TCP_FASTOPEN_KEY TCP_FASTOPEN_NO_COOKIE TCP_ZEROCOPY_RECEIVE TCP_INQ TCP_TX_DELAY"
)
IP_OPTIONS: Final = Enum(
    "IP_TOS=1 IP_TTL IP_HDRINCL IP_OPTIONS IP_ROUTER_ALERT IP_RECVOPTS IP_RETOPTS IP_PKTINFO "
    "IP_PKTOPTIONS IP_MTU_DISCOVER IP_RECVERR IP_RECVTTL IP_RECVTOS IP_MTU IP_FREEBIND "
    "IP_IPSEC_POLICY IP_XFRM_POLICY IP_PASSSEC IP_TRANSPARENT IP_ORIGDSTADDR=20 IP_MINTTL "
    "IP_NODEFRAG IP_CHECKSUM IP_BIND_ADDRESS_NO_PORT IP_RECVFRAGSIZE IP_RECVERR_RFC4884 "
    "IP_MULTICAST_IF=32 IP_MULTICAST_TTL IP_MULTICAST_LOOP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP "
    "IP_UNBLOCK_SOURCE IP_BLOCK_SOURCE IP_ADD_SOURCE_MEMBERSHIP IP_DROP_SOURCE_MEMBERSHIP "
    "IP_MSFILTER IP_MULTICAST_ALL=49 IP_UNICAST_IF IP_LOCAL_PORT_RANGE IP_PROTOCOL"
)
IPV6_OPTIONS: Final = Enum(
    "IPV6_ADDRFORM=1 IPV6_2292PKTINFO IPV6_2292HOPOPTS IPV6_2292DSTOPTS IPV6_2292RTHDR "
    "IPV6_2292PKTOPTIONS IPV6_CHECKSUM IPV6_2292HOPLIMIT IPV6_NEXTHOP IPV6_AUTHHDR=10 "
    "IPV6_UNICAST_HOPS=16 IPV6_MULTICAST_IF IPV6_MULTICAST_HOPS IPV6_MULTICAST_LOOP "
    "IPV6_JOIN_GROUP IPV6_LEAVE_GROUP IPV6_ROUTER_ALERT IPV6_MTU_DISCOVER IPV6_MTU IPV6_RECVERR "
    "IPV6_V6ONLY IPV6_JOIN_ANYCAST IPV6_LEAVE_ANYCAST IPV6_RECVPKTINFO=49 IPV6_PKTINFO "
    "IPV6_RECVHOPLIMIT IPV6_HOPLIMIT IPV6_RECVHOPOPTS IPV6_HOPOPTS IPV6_RTHDRDSTOPTS "
    "IPV6_RECVRTHDR IPV6_RTHDR IPV6_RECVDSTOPTS IPV6_DSTOPTS IPV6_RECVPATHMTU IPV6_PATHMTU "
    "IPV6_DONTFRAG IPV6_RECVTCLASS=66 IPV6_TCLASS"
)
OPTIONS: Final = {
    LEVELS["SOL_SOCKET"]: SOCKET_OPTIONS,
    LEVELS["SOL_TCP"]: TCP_OPTIONS,
    LEVELS["SOL_IP"]: IP_OPTIONS,
    LEVELS["SOL_IPV6"]: IPV6_OPTIONS,
}
INT_SIZE: Final = 4
POINTER_CAVEAT: Final = (
    "options whose value holds an address (SO_ATTACH_FILTER, TCP_ZEROCOPY_RECEIVE) fail with EFAULT "
    "under the route `proxy`"
)


def show_protocol(value: int, view: View) -> str:
    """A protocol by the name that it has in the socket's family."""
    family = view.value("domain") & 0xFFFFFFFF
    if family in (FAMILIES["AF_INET"], FAMILIES["AF_INET6"]):
        return PROTOCOLS(value, view)
    if family == FAMILIES["AF_NETLINK"]:
        return NETLINK(value, view)
    return show_int(value, view)


def show_option(value: int, view: View) -> str:
    options = OPTIONS.get(view.value("level") & 0xFFFFFFFF)
    return options(value, view) if options else f"{value & 0xFFFFFFFF:#x}"


def show_option_value(piece: Piece, view: View) -> str:
    """An option's value: a number, or one of the structures of SOL_SOCKET."""
    data = piece.data
    level, option = view.value("level") & 0xFFFFFFFF, view.value("optname") & 0xFFFFFFFF
    if level == LEVELS["SOL_SOCKET"]:
        name = SOCKET_OPTIONS.name(option)
        if name == "SO_LINGER" and len(data) == 8:
            onoff, linger = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
            return f"{{l_onoff={onoff}, l_linger={linger}}}"
        if name in ("SO_RCVTIMEO_OLD", "SO_SNDTIMEO_OLD") and len(data) == 16:
            return TIMEVAL_STRUCT(piece, view)
        if name == "SO_PEERCRED" and len(data) == 12:
            pid, uid, gid = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 8))
            return f"{{pid={pid}, uid={uid}, gid={gid}}}"
    if len(data) == INT_SIZE == piece.full:
        return f"[{signed(int.from_bytes(data, 'little'), 32)}]"
    return quote(data, piece.full, view.strings, view.hex)


OPTION: Final = Layout("option", SIZE_1, show_option_value)


class socket(
    Syscall,
    x86_64=41,
    generic=198,
    new_fd=True,
    effect=by(Does.SOCKET, "domain", "type"),
    errors="EMFILE ENFILE EACCES ENOBUFS EAFNOSUPPORT",
):
    """create an endpoint for communication"""

    domain = Chosen(FAMILIES)
    type = Chosen(TYPE_FLAGS)
    protocol = Value(show_protocol)


class socketpair(
    Syscall,
    x86_64=53,
    generic=199,
    effect=by(Does.SOCKETPAIR, "sv", "domain", "type"),
    errors="EMFILE ENFILE",
):
    """create a pair of connected sockets"""

    domain = Chosen(FAMILIES)
    type = Chosen(TYPE_FLAGS)
    protocol = Value(show_protocol)
    sv = Out(PAIR)


class bind(
    Syscall,
    x86_64=49,
    generic=200,
    effect=by(Does.LOCAL, "sockfd", "addr"),
    errors="EADDRINUSE EACCES",
):
    """bind a name to a socket"""

    sockfd = Fd()
    addr = SockaddrIn(length="addrlen")
    addrlen = Int()


class listen(Syscall, x86_64=50, generic=201, errors="EADDRINUSE"):
    """listen for connections on a socket"""

    sockfd = Fd()
    backlog = Int()


class accept(
    Syscall,
    x86_64=43,
    generic=202,
    blocks=True,
    new_fd=True,
    effect=by(Does.ACCEPTS, "sockfd", "addr"),
    errors="EMFILE ENFILE EINTR ECONNABORTED ENOBUFS",
):
    """accept a connection on a socket"""

    sockfd = Fd()
    addr = SockaddrOut(length_at="addrlen")
    addrlen = InOut(SOCKLEN)


class accept4(
    Syscall,
    x86_64=288,
    generic=242,
    since="2.6.28",
    blocks=True,
    new_fd=True,
    effect=by(Does.ACCEPTS, "sockfd", "addr"),
    errors="EMFILE ENFILE EINTR ECONNABORTED ENOBUFS",
):
    """accept a connection on a socket, with flags"""

    sockfd = Fd()
    addr = SockaddrOut(length_at="addrlen")
    addrlen = InOut(SOCKLEN)
    flags = Chosen(ACCEPT_FLAGS)


class connect(
    Syscall,
    x86_64=42,
    generic=203,
    blocks=True,
    effect=by(Does.PEER, "sockfd", "addr"),
    errors="ECONNREFUSED ETIMEDOUT ENETUNREACH EINTR EAGAIN",
):
    """initiate a connection on a socket"""

    sockfd = Fd()
    addr = SockaddrIn(length="addrlen")
    addrlen = Int()


class getsockname(Syscall, x86_64=51, generic=204, effect=by(Does.LOCAL, "sockfd", "addr")):
    """get socket name"""

    sockfd = Fd()
    addr = SockaddrOut(length_at="addrlen")
    addrlen = InOut(SOCKLEN)


class getpeername(Syscall, x86_64=52, generic=205, effect=by(Does.PEER, "sockfd", "addr")):
    """get name of connected peer socket"""

    sockfd = Fd()
    addr = SockaddrOut(length_at="addrlen")
    addrlen = InOut(SOCKLEN)


class sendto(
    Syscall,
    x86_64=44,
    generic=206,
    blocks=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ECONNRESET EPIPE EINTR EAGAIN ENOBUFS",
):
    """send a message on a socket"""

    sockfd = Fd()
    buf = In(length="len")
    len = Size()
    flags = Chosen(MSG_FLAGS)
    dest_addr = SockaddrIn(length="addrlen")
    addrlen = Int()


class recvfrom(
    Syscall,
    x86_64=45,
    generic=207,
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="ECONNRESET ECONNREFUSED EINTR EAGAIN ENOMEM",
):
    """receive a message from a socket"""

    sockfd = Fd()
    buf = Out(length="len", filled=True)
    len = Size()
    flags = Chosen(MSG_FLAGS)
    src_addr = SockaddrOut(length_at="addrlen")
    addrlen = InOut(SOCKLEN)


class sendmsg(
    Syscall,
    x86_64=46,
    generic=211,
    blocks=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ECONNRESET EPIPE EINTR EAGAIN ENOBUFS",
    posts=Posts.MESSAGES,
):
    """send a message on a socket, with ancillary data"""

    sockfd = Fd()
    msg = MsgIn()
    flags = Chosen(MSG_FLAGS)


class recvmsg(
    Syscall,
    x86_64=47,
    generic=212,
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="ECONNRESET ECONNREFUSED EINTR EAGAIN ENOMEM",
    posts=Posts.MESSAGES,
):
    """receive a message from a socket, with ancillary data"""

    sockfd = Fd()
    msg = MsgOut()
    flags = Chosen(MSG_FLAGS)


class sendmmsg(
    Syscall,
    x86_64=307,
    generic=269,
    since="3.0",
    blocks=True,
    errors="ECONNRESET EPIPE EINTR EAGAIN ENOBUFS",
    posts=Posts.MESSAGES,
):
    """send multiple messages on a socket"""

    sockfd = Fd()
    msgvec = MmsgIn(count="vlen")
    vlen = Unsigned()
    flags = Chosen(MSG_FLAGS)


class recvmmsg(
    Syscall,
    x86_64=299,
    generic=243,
    since="2.6.33",
    blocks=True,
    errors="ECONNREFUSED EINTR EAGAIN",
    posts=Posts.MESSAGES,
):
    """receive multiple messages on a socket"""

    sockfd = Fd()
    msgvec = MmsgOut(count="vlen")
    vlen = Unsigned()
    flags = Chosen(MSG_FLAGS)
    timeout = InOut(TIMESPEC)


class shutdown(Syscall, x86_64=48, generic=210, errors="ENOTCONN"):
    """shut down part of a full-duplex connection"""

    sockfd = Fd()
    how = Chosen(SHUTDOWN)


class setsockopt(
    Syscall,
    x86_64=54,
    generic=208,
    support=Support.PARTIAL,
    caveat=POINTER_CAVEAT,
    errors="EINVAL ENOPROTOOPT",
):
    """set options on sockets"""

    sockfd = Fd()
    level = Chosen(LEVELS)
    optname = Value(show_option)
    optval = In(OPTION, length="optlen")
    optlen = Int()


class getsockopt(
    Syscall,
    x86_64=55,
    generic=209,
    support=Support.PARTIAL,
    caveat=POINTER_CAVEAT,
    errors="ENOPROTOOPT",
):
    """get options on sockets"""

    sockfd = Fd()
    level = Chosen(LEVELS)
    optname = Value(show_option)
    optval = Out(OPTION, length_at="optlen")
    optlen = InOut(SOCKLEN)
