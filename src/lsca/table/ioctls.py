# SPDX-License-Identifier: Apache-2.0
"""The requests of ioctl whose argument is known: terminals, sockets, block devices, file systems.

Under the route `proxy` these are made by the proxy; those marked `borrow` are job control, which asks who the caller
is, and go to the program like every request that is not here. The numbers are the same on both machines.
"""

from typing import Final

from lsca.table.addresses import INTERFACE_REQUEST, INTERFACE_VALUE
from lsca.table.arguments import Kind, Request
from lsca.table.constants import Enum, Flags
from lsca.table.layouts import Layout, Struct, number, one, opaque
from lsca.table.text import Show, View, show_hex, show_int, show_size, show_unsigned

INPUT: Final = Flags(
    "IGNBRK=1 BRKINT IGNPAR PARMRK INPCK ISTRIP INLCR IGNCR ICRNL IUCLC IXON IXANY IXOFF IMAXBEL "
    "IUTF8"
)
OUTPUT: Final = Flags("OPOST=1 OLCUC ONLCR OCRNL ONOCR ONLRET OFILL OFDEL")
CONTROL: Final = Flags(
    "CSTOPB=0x40 CREAD PARENB PARODD HUPCL CLOCAL CRTSCTS=0x80000000",
    base=Enum("B0|CS5=0 B9600|CS8=0x3d B19200|CS8 B38400|CS8 B57600|CS8=0x1031 B115200|CS8=0x1032"),
    mask=0x103F,
)
LOCAL: Final = Flags(
    "ISIG=1 ICANON XCASE ECHO ECHOE ECHOK ECHONL NOFLSH TOSTOP ECHOCTL ECHOPRT ECHOKE FLUSHO "
    "PENDIN=0x4000 IEXTEN=0x8000 EXTPROC=0x10000"
)
QUEUES: Final = Enum("TCIFLUSH TCOFLUSH TCIOFLUSH")
FLOWS: Final = Enum("TCOOFF TCOON TCIOFF TCION")

TERMIOS: Final = one(
    Struct(
        "termios",
        {
            "c_iflag": ("I", INPUT),
            "c_oflag": ("I", OUTPUT),
            "c_cflag": ("I", CONTROL),
            "c_lflag": ("I", LOCAL),
            "_c_line": "B",
            "_c_cc": "19s",
        },
        brief=("c_iflag", "c_oflag", "c_cflag", "c_lflag"),
    )
)
TERMIOS2: Final = opaque("termios2", 44)
WINSIZE: Final = one(
    Struct("winsize", {"ws_row": "H", "ws_col": "H", "ws_xpixel": "H", "ws_ypixel": "H"})
)
INT: Final = number("int", "i", show_int)
UNSIGNED: Final = number("unsigned int", "I", show_unsigned)
LONG: Final = number("long", "Q", show_size)
FLAGS: Final = number("int", "I", show_hex)
CLONE_RANGE: Final = one(
    Struct(
        "file_clone_range",
        {"src_fd": "q", "src_offset": "Q", "src_length": "Q", "dest_offset": "Q"},
    )
)
TRIM_RANGE: Final = one(Struct("fstrim_range", {"start": "Q", "len": "Q", "minlen": "Q"}))
FSXATTR: Final = one(
    Struct(
        "fsxattr",
        {
            "fsx_xflags": ("I", show_hex),
            "fsx_extsize": "I",
            "fsx_nextents": "I",
            "fsx_projid": "I",
            "fsx_cowextsize": "I",
            "_pad": "8s",
        },
    )
)
LABEL: Final = opaque("fslabel", 256)
GEOMETRY: Final = opaque("hd_geometry", 16)


def _in(name: str, number: int, layout: Layout, *, borrow: bool = False) -> Request:
    return Request(name, number, Kind.IN, layout, borrow=borrow)


def _out(name: str, number: int, layout: Layout, *, borrow: bool = False) -> Request:
    return Request(name, number, Kind.OUT, layout, borrow=borrow)


def _both(name: str, number: int, layout: Layout) -> Request:
    return Request(name, number, Kind.INOUT, layout)


def _value(name: str, number: int, show: Show = show_int, *, borrow: bool = False) -> Request:
    return Request(name, number, Kind.VALUE, show=show, borrow=borrow)


def _none(name: str, number: int, *, borrow: bool = False) -> Request:
    return Request(name, number, borrow=borrow)


TERMINALS: Final = (
    _out("TCGETS", 0x5401, TERMIOS),
    _in("TCSETS", 0x5402, TERMIOS),
    _in("TCSETSW", 0x5403, TERMIOS),
    _in("TCSETSF", 0x5404, TERMIOS),
    _out("TCGETA", 0x5405, opaque("termio", 18)),
    _in("TCSETA", 0x5406, opaque("termio", 18)),
    _in("TCSETAW", 0x5407, opaque("termio", 18)),
    _in("TCSETAF", 0x5408, opaque("termio", 18)),
    _value("TCSBRK", 0x5409),
    _value("TCXONC", 0x540A, FLOWS),
    _value("TCFLSH", 0x540B, QUEUES),
    _none("TIOCEXCL", 0x540C),
    _none("TIOCNXCL", 0x540D),
    _value("TIOCSCTTY", 0x540E, borrow=True),
    _out("TIOCGPGRP", 0x540F, INT, borrow=True),
    _in("TIOCSPGRP", 0x5410, INT, borrow=True),
    _out("TIOCOUTQ", 0x5411, INT),
    _in("TIOCSTI", 0x5412, opaque("char", 1), borrow=True),
    _out("TIOCGWINSZ", 0x5413, WINSIZE),
    _in("TIOCSWINSZ", 0x5414, WINSIZE),
    _out("TIOCMGET", 0x5415, FLAGS),
    _in("TIOCMBIS", 0x5416, FLAGS),
    _in("TIOCMBIC", 0x5417, FLAGS),
    _in("TIOCMSET", 0x5418, FLAGS),
    _out("TIOCGSOFTCAR", 0x5419, INT),
    _in("TIOCSSOFTCAR", 0x541A, INT),
    _out("FIONREAD", 0x541B, INT),
    _none("TIOCCONS", 0x541D),
    _in("TIOCPKT", 0x5420, INT),
    _in("FIONBIO", 0x5421, INT),
    _none("TIOCNOTTY", 0x5422, borrow=True),
    _in("TIOCSETD", 0x5423, INT),
    _out("TIOCGETD", 0x5424, INT),
    _value("TCSBRKP", 0x5425),
    _none("TIOCSBRK", 0x5427),
    _none("TIOCCBRK", 0x5428),
    _out("TIOCGSID", 0x5429, INT, borrow=True),
    _out("TCGETS2", 0x802C542A, TERMIOS2),
    _in("TCSETS2", 0x402C542B, TERMIOS2),
    _in("TCSETSW2", 0x402C542C, TERMIOS2),
    _in("TCSETSF2", 0x402C542D, TERMIOS2),
    _out("TIOCGPTN", 0x80045430, UNSIGNED),
    _in("TIOCSPTLCK", 0x40045431, INT),
    _out("TIOCGDEV", 0x80045432, FLAGS),
    _value("TIOCSIG", 0x40045436),
    _none("TIOCVHANGUP", 0x5437),
    _out("TIOCGPKT", 0x80045438, INT),
    _out("TIOCGPTLCK", 0x80045439, INT),
    _out("TIOCGEXCL", 0x80045440, INT),
    _value("TIOCGPTPEER", 0x5441, show_hex),
    _none("FIONCLEX", 0x5450),
    _none("FIOCLEX", 0x5451),
    _in("FIOASYNC", 0x5452, INT),
    _out("FIOQSIZE", 0x5460, LONG),
)
SOCKETS: Final = (
    _in("FIOSETOWN", 0x8901, INT),
    _in("SIOCSPGRP", 0x8902, INT),
    _out("FIOGETOWN", 0x8903, INT),
    _out("SIOCGPGRP", 0x8904, INT),
    _out("SIOCATMARK", 0x8905, INT),
    _both("SIOCGIFNAME", 0x8910, INTERFACE_VALUE),
    _both("SIOCGIFFLAGS", 0x8913, INTERFACE_VALUE),
    _in("SIOCSIFFLAGS", 0x8914, INTERFACE_VALUE),
    _both("SIOCGIFADDR", 0x8915, INTERFACE_REQUEST),
    _in("SIOCSIFADDR", 0x8916, INTERFACE_REQUEST),
    _both("SIOCGIFDSTADDR", 0x8917, INTERFACE_REQUEST),
    _in("SIOCSIFDSTADDR", 0x8918, INTERFACE_REQUEST),
    _both("SIOCGIFBRDADDR", 0x8919, INTERFACE_REQUEST),
    _in("SIOCSIFBRDADDR", 0x891A, INTERFACE_REQUEST),
    _both("SIOCGIFNETMASK", 0x891B, INTERFACE_REQUEST),
    _in("SIOCSIFNETMASK", 0x891C, INTERFACE_REQUEST),
    _both("SIOCGIFMETRIC", 0x891D, INTERFACE_VALUE),
    _both("SIOCGIFMTU", 0x8921, INTERFACE_VALUE),
    _in("SIOCSIFMTU", 0x8922, INTERFACE_VALUE),
    _both("SIOCGIFHWADDR", 0x8927, INTERFACE_REQUEST),
    _both("SIOCGIFINDEX", 0x8933, INTERFACE_VALUE),
    _both("SIOCGIFTXQLEN", 0x8942, INTERFACE_VALUE),
    _both("SIOCGIFMAP", 0x8970, INTERFACE_REQUEST),
)
FILES: Final = (
    _out("FIGETBSZ", 0x2, INT),
    _value("FICLONE", 0x40049409),
    _in("FICLONERANGE", 0x4020940D, CLONE_RANGE),
    _out("FS_IOC_GETFLAGS", 0x80086601, FLAGS),
    _in("FS_IOC_SETFLAGS", 0x40086602, FLAGS),
    _out("FS_IOC_GETVERSION", 0x80087601, INT),
    _out("FS_IOC_FSGETXATTR", 0x801C581F, FSXATTR),
    _in("FS_IOC_FSSETXATTR", 0x401C5820, FSXATTR),
    _out("FS_IOC_GETFSLABEL", 0x81009431, LABEL),
    _in("FS_IOC_SETFSLABEL", 0x41009432, LABEL),
    _both("FITRIM", 0xC0185879, TRIM_RANGE),
    _out("EPIOCGPARAMS", 0x80088A02, opaque("epoll_params", 8)),
    _in("EPIOCSPARAMS", 0x40088A01, opaque("epoll_params", 8)),
    _in("TFD_IOC_SET_TICKS", 0x40085400, LONG),
    _none("NS_GET_USERNS", 0xB701),
    _none("NS_GET_PARENT", 0xB702),
    _none("NS_GET_NSTYPE", 0xB703),
    _out("NS_GET_OWNER_UID", 0xB704, UNSIGNED),
)
BLOCKS: Final = (
    _in("BLKROSET", 0x125D, INT),
    _out("BLKROGET", 0x125E, INT),
    _none("BLKRRPART", 0x125F),
    _out("BLKGETSIZE", 0x1260, LONG),
    _none("BLKFLSBUF", 0x1261),
    _value("BLKRASET", 0x1262),
    _out("BLKRAGET", 0x1263, LONG),
    _out("BLKSECTGET", 0x1267, opaque("unsigned short", 2)),
    _out("BLKSSZGET", 0x1268, INT),
    _out("BLKBSZGET", 0x80081270, INT),
    _out("BLKGETSIZE64", 0x80081272, LONG),
    _in("BLKDISCARD", 0x1277, opaque("uint64_t[2]", 16)),
    _out("BLKIOMIN", 0x1278, UNSIGNED),
    _out("BLKIOOPT", 0x1279, UNSIGNED),
    _out("BLKALIGNOFF", 0x127A, INT),
    _out("BLKPBSZGET", 0x127B, UNSIGNED),
    _out("BLKDISCARDZEROES", 0x127C, UNSIGNED),
    _out("BLKROTATIONAL", 0x127E, opaque("unsigned short", 2)),
    _in("BLKZEROOUT", 0x127F, opaque("uint64_t[2]", 16)),
    _out("HDIO_GETGEO", 0x301, GEOMETRY),
    _value("LOOP_SET_FD", 0x4C00),
    _none("LOOP_CLR_FD", 0x4C01),
    _in("LOOP_SET_STATUS64", 0x4C04, opaque("loop_info64", 232)),
    _out("LOOP_GET_STATUS64", 0x4C05, opaque("loop_info64", 232)),
    _value("LOOP_CHANGE_FD", 0x4C06),
    _value("LOOP_SET_CAPACITY", 0x4C07),
    _value("LOOP_SET_DIRECT_IO", 0x4C08),
    _value("LOOP_SET_BLOCK_SIZE", 0x4C09),
    _in("LOOP_CONFIGURE", 0x4C0A, opaque("loop_config", 304)),
    _value("LOOP_CTL_ADD", 0x4C80),
    _value("LOOP_CTL_REMOVE", 0x4C81),
    _none("LOOP_CTL_GET_FREE", 0x4C82),
)
DEVICES: Final = (
    _out("RNDGETENTCNT", 0x80045200, INT),
    _in("RNDADDTOENTCNT", 0x40045201, INT),
    _in("TUNSETNOCSUM", 0x400454C8, INT),
    _both("TUNSETIFF", 0x400454CA, INTERFACE_VALUE),
    _value("TUNSETPERSIST", 0x400454CB),
    _value("TUNSETOWNER", 0x400454CC),
    _out("TUNGETFEATURES", 0x800454CF, FLAGS),
    _out("TUNGETIFF", 0x800454D2, INTERFACE_VALUE),
    _out("RTC_RD_TIME", 0x80247009, opaque("rtc_time", 36)),
    _out("VT_GETSTATE", 0x5603, opaque("vt_stat", 6)),
    _out("VT_OPENQRY", 0x5600, INT),
    _value("VT_ACTIVATE", 0x5606),
    _value("VT_WAITACTIVE", 0x5607),
    _out("KDGKBTYPE", 0x4B33, opaque("char", 1)),
    _out("KDGETMODE", 0x4B3B, INT),
    _value("KDSETMODE", 0x4B3A),
    _out("KDGKBMODE", 0x4B44, INT),
    _value("KDSKBMODE", 0x4B45),
    _out("EVIOCGVERSION", 0x80044501, FLAGS),
    _out("EVIOCGID", 0x80084502, opaque("input_id", 8)),
    _value("EVIOCGRAB", 0x40044590),
)

REQUESTS: Final = {
    request.number: request for request in (*TERMINALS, *SOCKETS, *FILES, *BLOCKS, *DEVICES)
}


def show_request(value: int, view: View) -> str:
    """A request without a row, taken apart as _IOC would have made it."""
    value &= 0xFFFFFFFF
    directions = {0: "_IOC_NONE", 1: "_IOC_WRITE", 2: "_IOC_READ", 3: "_IOC_READ|_IOC_WRITE"}
    direction, size, kind, nr = value >> 30, value >> 16 & 0x3FFF, value >> 8 & 0xFF, value & 0xFF
    return f"_IOC({directions[direction]}, {kind:#x}, {nr:#x}, {size:#x})"
