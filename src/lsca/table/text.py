# SPDX-License-Identifier: Apache-2.0
"""How values are written down, in strace's manner: numbers, strings, errno names, and the view of one call.

The lowest file of the table. What writes a value is a `Show`: a function of the value and of the view, which knows the
other arguments, the result and the machine.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

X86_64: Final = "x86_64"
AARCH64: Final = "aarch64"
MACHINES: Final = (X86_64, AARCH64)
ERRNO_MAX: Final = 4095

# Of two names of one number Python knows one, and not the one that Linux and strace use.
ERRNO_NAMES: Final = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK"}

_RESTARTS: Final = {
    512: ("ERESTARTSYS", "To be restarted if SA_RESTART is set"),
    513: ("ERESTARTNOINTR", "To be restarted"),
    514: ("ERESTARTNOHAND", "To be restarted if no handler"),
    516: ("ERESTART_RESTARTBLOCK", "Interrupted by signal"),
}
_ESCAPES: Final = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_OCTAL_DIGITS: Final = range(ord("0"), ord("8"))


class Piece(NamedTuple):
    """What a pointer argument pointed to: the bytes that were kept, and how many there were."""

    data: bytes
    full: int


Hex = Literal["none", "chars", "strings", "all"]  # strace's --strings-in-hex


FileOf = Callable[[int, bool], str | None]  # what a descriptor stands for, before or after the call


def no_file(fd: int, after: bool) -> str | None:
    """What a descriptor stands for, when nobody asks."""
    return None


class View(NamedTuple):
    """One call as far as it is known: `ret` is None while it has not returned, `names` gives arguments' indices.

    `hex` says which strings are written in hex, `whole` that structures are shown with all their members, `file` what
    is written after a descriptor, if anything.
    """

    machine: str
    args: Sequence[int]
    ret: int | None
    entry: Mapping[int, Piece]
    exit: Mapping[int, Piece]
    names: Mapping[str, int]
    strings: int
    hex: Hex = "none"
    whole: bool = False
    file: FileOf = no_file

    @property
    def failed(self) -> bool:
        return self.ret is not None and -ERRNO_MAX <= self.ret < 0

    def value(self, name: str) -> int:
        """The argument of that name, as the 64 bits that were passed."""
        return self.args[self.names[name]]


Show = Callable[[int, View], str]


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def show_int(value: int, view: View) -> str:
    """A C int."""
    return str(signed(value, 32))


def show_unsigned(value: int, view: View) -> str:
    """An unsigned int."""
    return str(value & 0xFFFFFFFF)


def show_long(value: int, view: View) -> str:
    """A long: 64 bits with sign."""
    return str(signed(value, 64))


def show_size(value: int, view: View) -> str:
    """An unsigned long."""
    return str(value)


def show_hex(value: int, view: View) -> str:
    return f"{value:#x}" if value else "0"


def show_address(value: int, view: View) -> str:
    return f"{value:#x}" if value else "NULL"


def show_octal(value: int, view: View) -> str:
    """A file mode without its type: 0644."""
    return f"0{value & 0xFFFF:o}".rjust(3, "0")


def show_bit_octal(value: int, view: View) -> str:
    """What umask takes and gives: 022."""
    return f"0{value & 0xFFFFFFFF:o}".rjust(3, "0")


def show_device(value: int, view: View) -> str:
    """A device number: makedev(0x1, 0x3)."""
    return f"makedev({show_hex(os.major(value), view)}, {show_hex(os.minor(value), view)})"


def show_id(value: int, view: View) -> str:
    """A user or group: -1 means "leave as it is"."""
    value &= 0xFFFFFFFF
    return "-1" if value == 0xFFFFFFFF else str(value)


def show_fd(value: int, view: View) -> str:
    """A descriptor, and what it stands for: 3</etc/passwd>."""
    return _fd(value, view, False)


def show_new_fd(value: int, view: View) -> str:
    """A descriptor that the call has made."""
    return _fd(value, view, True)


def _fd(value: int, view: View, after: bool) -> str:
    number = signed(value, 32)
    return f"{number}{show_file(view.file(number, after), view)}"


def show_file(file: str | None, view: View) -> str:
    """What stands after a descriptor: </etc/passwd>. In a path what is no plain character is escaped, ">" too."""
    if not file:
        return ""
    if not file.startswith("/"):
        return f"<{file}>"
    data = file.encode("utf-8", "surrogateescape")
    text = quote(data, len(data), None, view.hex)[1:-1]
    return f"<{text.replace('>', chr(92) + '76')}>"


def quote(data: bytes, full: int, limit: int | None, hex: Hex = "none") -> str:
    """Bytes as a C string; "..." follows where more were there than `limit` or than were kept."""
    shown = data if limit is None else data[:limit]
    if hex == "all" or (hex == "strings" and any(_strange(byte) for byte in shown)):
        text = "".join(f"\\x{byte:02x}" for byte in shown)
    else:
        text = "".join(_character(shown, at, hex == "chars") for at in range(len(shown)))
    return f'"{text}"' + ("..." if len(shown) < full else "")


def _strange(byte: int) -> bool:
    return not 32 <= byte < 127 and byte not in _ESCAPES


def _character(data: bytes, at: int, hex: bool) -> str:
    byte = data[at]
    if byte in _ESCAPES:
        return _ESCAPES[byte]
    if 32 <= byte < 127:
        return chr(byte)
    if hex:
        return f"\\x{byte:02x}"
    digit_follows = at + 1 < len(data) and data[at + 1] in _OCTAL_DIGITS
    return f"\\{byte:03o}" if digit_follows else f"\\{byte:o}"


def error(ret: int) -> str:
    """A failure: -1 ENOENT (No such file or directory)."""
    if -ret in _RESTARTS:
        name, words = _RESTARTS[-ret]
        return f"? {name} ({words})"
    name = ERRNO_NAMES.get(-ret, "")
    return f"-1 {name} ({os.strerror(-ret)})" if name else f"-1 (errno {-ret})"
