# SPDX-License-Identifier: Apache-2.0
"""The arguments that a call can have.

A row says `fd = Fd()`, `buf = Out(length="count", filled=True)`. Each of these functions makes an `Argument`, which the
class that is being made collects; for the type checker it is what a handler gets to see, an int, bytes or str. So a row
is also the type of a live call.

Longer than 500 lines because every kind of argument is made here: who writes a row looks in one place.
"""

import errno
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar, cast, overload

from lsca.live.values import Structure
from lsca.table.constants import Enum, Flags
from lsca.table.layouts import BYTES, Layout
from lsca.table.text import (
    Piece,
    Show,
    View,
    quote,
    show_address,
    show_bit_octal,
    show_fd,
    show_file,
    show_hex,
    show_id,
    show_int,
    show_long,
    show_octal,
    show_size,
    show_unsigned,
    signed,
)

AT_FDCWD: Final = -100
STRINGS_SHOWN: Final = 32  # of argv, as strace does


class Kind(StrEnum):
    """`enum arg_kind` of native/shared/calls.h."""

    VALUE = "ARG_VALUE"
    FD = "ARG_FD"
    STRING = "ARG_STRING"
    IN = "ARG_IN"
    OUT = "ARG_OUT"
    INOUT = "ARG_INOUT"
    IOV_IN = "ARG_IOV_IN"
    IOV_OUT = "ARG_IOV_OUT"
    MSG_IN = "ARG_MSG_IN"
    MSG_OUT = "ARG_MSG_OUT"
    MMSG_IN = "ARG_MMSG_IN"
    MMSG_OUT = "ARG_MMSG_OUT"
    FCNTL = "ARG_FCNTL"
    IOCTL = "ARG_IOCTL"
    SIGMASK = "ARG_SIGMASK"
    SIGMASK6 = "ARG_SIGMASK6"
    POINTER = "ARG_POINTER"
    STRINGS = "ARG_STRINGS"


class Length(StrEnum):
    """`enum arg_length` of native/shared/calls.h."""

    CONST = "LEN_CONST"
    ARG = "LEN_ARG"
    DEREF = "LEN_DEREF"
    FDSET = "LEN_FDSET"


class ArgFlag(StrEnum):
    """`enum arg_flags` of native/shared/calls.h."""

    FILLED = "ARG_FILLED"
    PATH = "ARG_PATH"
    ON_ERROR = "ARG_ON_ERROR"
    WHOLE = "ARG_WHOLE"
    ADDRESS = "ARG_ADDRESS"
    DIR = "ARG_DIR"


Seen = TypeVar("Seen")
MEMORY: Final = (Kind.IN, Kind.OUT, Kind.INOUT)
COUNTED: Final = (Kind.IOV_IN, Kind.IOV_OUT, Kind.MMSG_IN, Kind.MMSG_OUT, Kind.FCNTL, Kind.IOCTL)


class Argument(NamedTuple):
    """One argument of a call. `length` names the argument that says how long, how many or what.

    `write(argument, view, index)` gives the text of the log; `when` says for which calls the argument counts at all.
    `seen` is the type that a handler gets.
    """

    kind: Kind
    write: "Write"
    seen: type[object] = int
    show: Show = show_hex
    layout: Layout | None = None
    length: str | None = None
    measure: Length = Length.CONST
    flags: tuple[ArgFlag, ...] = ()
    when: Callable[[View], bool] | None = None
    before_only: bool = False


Write = Callable[[Argument, View, int], str]


# ---- numbers --------------------------------------------------------------------------------------------------------


def Value(show: Show = show_int, *, when: Callable[[View], bool] | None = None) -> int:
    """A number, written as `show` says."""
    return _typed(int, Argument(kind=Kind.VALUE, write=_write_value, show=show, when=when))


def Int() -> int:
    return Value(show_int)


def Unsigned() -> int:
    return Value(show_unsigned)


def Long() -> int:
    return Value(show_long)


def Size() -> int:
    """A number of bytes."""
    return Value(show_size)


def Offset() -> int:
    """A place in a file."""
    return Value(show_long)


def Hex() -> int:
    return Value(show_hex)


def Address() -> int:
    """An address that is only a number to the kernel (mmap's, brk's): nothing is read through it."""
    return Value(show_address)


def Mode(*, when: Callable[[View], bool] | None = None) -> int:
    """A file's permission bits, in octal."""
    return Value(show_octal, when=when)


def Mask() -> int:
    """umask's argument, in octal."""
    return Value(show_bit_octal)


def Id() -> int:
    """A user or group; -1 leaves it as it is."""
    return Value(show_id)


def Pid() -> int:
    return Value(show_int)


def Chosen(constants: Enum | Flags, *, when: Callable[[View], bool] | None = None) -> int:
    """One of an Enum's names, or several of Flags'."""
    return Value(constants, when=when)


def Fd() -> int:
    """A descriptor."""
    return _typed(int, Argument(kind=Kind.FD, write=_write_value, show=show_fd))


def NewFd() -> int:
    """The number that a descriptor is to get: not one that must be open."""
    return Value(show_fd)


def DirFd() -> int:
    """The directory that a relative path starts from; AT_FDCWD is the working directory."""
    return _typed(
        int, Argument(kind=Kind.FD, write=_write_value, show=show_dirfd, flags=(ArgFlag.DIR,))
    )


# ---- strings --------------------------------------------------------------------------------------------------------


def Path() -> str:
    """A pathname."""
    return _typed(str, Argument(kind=Kind.STRING, write=_write_path, flags=(ArgFlag.PATH,)))


def String() -> str:
    """A string that is not a pathname."""
    return _typed(str, Argument(kind=Kind.STRING, write=_write_string))


def Strings(*, count_only: bool = False) -> list[str]:
    """argv, or with `count_only` envp."""
    write = _write_environment if count_only else _write_strings
    return _typed(list[str], Argument(kind=Kind.STRINGS, write=write))


# ---- memory ---------------------------------------------------------------------------------------------------------


@overload
def In(*, length: str) -> bytes: ...
@overload
def In(
    layout: Layout,
    *,
    length: str | None = None,
    when: Callable[[View], bool] | None = None,
    write: "Write | None" = None,
) -> Structure: ...
def In(
    layout: Layout = BYTES,
    *,
    length: str | None = None,
    when: Callable[[View], bool] | None = None,
    write: "Write | None" = None,
) -> bytes:
    """Memory that the call reads: `args[length]` elements, or exactly one."""
    return memory(Kind.IN, layout, _seen(layout), length=length, when=when, write=write)


@overload
def Out(*, length: str, filled: bool = False) -> bytes: ...
@overload
def Out(
    layout: Layout,
    *,
    length: str | None = None,
    length_at: str | None = None,
    filled: bool = False,
    interrupted: bool = False,
    when: Callable[[View], bool] | None = None,
) -> Structure: ...
def Out(
    layout: Layout = BYTES,
    *,
    length: str | None = None,
    length_at: str | None = None,
    filled: bool = False,
    interrupted: bool = False,
    when: Callable[[View], bool] | None = None,
) -> bytes:
    """Memory that the call writes.

    `length_at` names the argument that points to the length. `filled`: the result says how many elements are valid.
    `interrupted`: written only if a signal ends the call.
    """
    flags = (ArgFlag.FILLED,) if filled else (ArgFlag.ON_ERROR,) if interrupted else ()
    return memory(
        Kind.OUT,
        layout,
        _seen(layout),
        length=length,
        length_at=length_at,
        flags=flags,
        when=when,
        write=_write_if_interrupted if interrupted else None,
    )


def InOut(
    layout: Layout,
    *,
    length: str | None = None,
    on_error: bool = False,
    before_only: bool = False,
) -> Structure:
    """Memory that the call reads and writes. `before_only`: the log's argument shows it as it was before the call."""
    flags = (ArgFlag.ON_ERROR,) if on_error else ()
    return memory(
        Kind.INOUT, layout, Structure, length=length, flags=flags, before_only=before_only
    )


def FdSet(layout: Layout, *, nfds: str) -> Structure:
    """A set of descriptors of select; NULL for none."""
    return _typed(
        Structure,
        Argument(
            kind=Kind.INOUT,
            write=_write_memory,
            layout=layout,
            length=nfds,
            measure=Length.FDSET,
            before_only=True,
        ),
    )


def IovIn(*, count: str) -> bytes:
    """Buffers that the call reads, one after the other."""
    return _typed(bytes, Argument(kind=Kind.IOV_IN, write=_write_vector, length=count))


def IovOut(*, count: str) -> bytes:
    """Buffers that the call fills, one after the other."""
    return _typed(bytes, Argument(kind=Kind.IOV_OUT, write=_write_vector, length=count))


def Message(kind: Kind, write: Write) -> bytes:
    """A struct msghdr."""
    return _typed(bytes, Argument(kind=kind, write=write))


def Messages(kind: Kind, write: Write, *, count: str) -> bytes:
    """An array of struct mmsghdr."""
    return _typed(bytes, Argument(kind=kind, write=write, length=count))


def Sigmask(layout: Layout) -> Structure:
    """The signals that are blocked while the call waits."""
    return _typed(Structure, Argument(kind=Kind.SIGMASK, write=_write_memory, layout=layout))


def Sigmask6() -> int:
    """pselect6's pair of a signal set's address and its size."""
    return _typed(int, Argument(kind=Kind.SIGMASK6, write=_write_value, show=show_address))


def Pointer(*, when: Callable[[View], bool] | None = None) -> int:
    """An address whose memory only the program's own process can read or write, or whose meaning varies too much."""
    return _typed(
        int, Argument(kind=Kind.POINTER, write=_write_value, show=show_address, when=when)
    )


def _seen(layout: Layout) -> type[bytes]:
    return bytes if layout is BYTES else Structure


def memory(
    kind: Kind,
    layout: Layout,
    seen: type[Seen],
    *,
    length: str | None = None,
    length_at: str | None = None,
    flags: tuple[ArgFlag, ...] = (),
    when: Callable[[View], bool] | None = None,
    before_only: bool = False,
    write: "Write | None" = None,
) -> Seen:
    """Memory in whatever direction, as a handler is to see it."""
    measure = Length.ARG if length else Length.DEREF if length_at else Length.CONST
    return _typed(
        seen,
        Argument(
            kind=kind,
            write=write or _write_memory,
            layout=layout,
            length=length or length_at,
            measure=measure,
            flags=flags,
            when=when,
            before_only=before_only,
        ),
    )


# ---- arguments whose meaning another one chooses --------------------------------------------------------------------


class Request(NamedTuple):
    """One request of ioctl, or one command of fcntl, whose argument is known.

    `kind` None: there is no argument. `borrow`: the program itself must be the caller. `layout` or `show` by kind.
    """

    name: str
    number: int
    kind: Kind | None = None
    layout: Layout | None = None
    show: Show = show_int
    borrow: bool = False


def Chooses(requests: Mapping[int, Request], unknown: Show) -> int:
    """The number of a Request."""

    def show(value: int, view: View) -> str:
        request = requests.get(value & 0xFFFFFFFF)
        return request.name if request else unknown(value, view)

    return Value(show)


def Chosen_by(kind: Kind, by: str, requests: Mapping[int, Request]) -> int:
    """The argument that belongs to a Request: a number, a pointer, or nothing at all."""

    def request_of(view: View) -> Request | None:
        return requests.get(view.value(by) & 0xFFFFFFFF)

    def when(view: View) -> bool:
        request = request_of(view)
        return request is None or request.kind is not None

    def write(argument: Argument, view: View, index: int) -> str:
        request = request_of(view)
        if request is None or request.kind is None:
            return show_hex(view.args[index], view)
        if request.kind is Kind.VALUE:
            return request.show(view.args[index], view)
        return _write_memory(
            Argument(kind=request.kind, write=_write_memory, layout=request.layout),
            view,
            index,
        )

    return _typed(int, Argument(kind=kind, write=write, length=by, when=when))


# ---- how they are written -------------------------------------------------------------------------------------------


def _typed(kind: type[Seen], argument: Argument) -> Seen:
    """The argument, which the row's class collects; `kind` is what a handler will see in its place."""
    return cast(Seen, argument._replace(seen=kind))


def show_dirfd(value: int, view: View) -> str:
    number = signed(value, 32)
    if number != AT_FDCWD:
        return show_fd(value, view)
    return f"AT_FDCWD{show_file(view.file(number, False), view)}"


def _write_value(argument: Argument, view: View, index: int) -> str:
    return argument.show(view.args[index], view)


def _write_path(argument: Argument, view: View, index: int) -> str:
    piece = view.entry.get(index)
    return (
        quote(piece.data, piece.full, None, view.hex)
        if piece
        else show_address(view.args[index], view)
    )


def _write_string(argument: Argument, view: View, index: int) -> str:
    piece = view.entry.get(index)
    if not piece:
        return show_address(view.args[index], view)
    return quote(piece.data, piece.full, view.strings, view.hex)


def _split(piece: Piece) -> list[bytes]:
    return piece.data.split(b"\0")[:-1]


def _write_strings(argument: Argument, view: View, index: int) -> str:
    piece = view.entry.get(index)
    if not piece:
        return show_address(view.args[index], view)
    words = _split(piece)
    shown = words if view.whole else words[:STRINGS_SHOWN]
    texts = [quote(text, len(text), view.strings, view.hex) for text in shown]
    if len(shown) < len(words) or len(piece.data) < piece.full:
        texts.append("...")
    return "[" + ", ".join(texts) + "]"


def _write_environment(argument: Argument, view: View, index: int) -> str:
    piece = view.entry.get(index)
    address = show_address(view.args[index], view)
    if not piece:
        return address
    if view.whole:
        return _write_strings(argument, view, index)
    count = len(_split(piece))
    more = " or more" if len(piece.data) < piece.full else ""
    return f"{address} /* {count}{more} var{'' if count == 1 and not more else 's'} */"


def _write_vector(argument: Argument, view: View, index: int) -> str:
    out = argument.kind is Kind.IOV_OUT
    piece = (view.exit if out else view.entry).get(index)
    if not piece or (out and view.failed):
        return show_address(view.args[index], view)
    assert argument.length
    count = view.value(argument.length)
    data = f"[{{iov_base={quote(piece.data, piece.full, view.strings, view.hex)}, iov_len={piece.full}}}"
    return data + ("]" if count == 1 else f" /* gathered from {count} */]")


def _write_memory(argument: Argument, view: View, index: int) -> str:
    text = _memory_text(argument, view, index)
    return text if text != "{...}" else show_address(view.args[index], view)


def _write_if_interrupted(argument: Argument, view: View, index: int) -> str:
    after = view.exit.get(index)
    if not after or not argument.layout or view.ret != -errno.EINTR:
        return show_address(view.args[index], view)
    return argument.layout.show(after, view)


def _memory_text(argument: Argument, view: View, index: int) -> str:
    """What is in the memory; "{...}" if that is too little to tell."""
    address = view.args[index]
    layout = argument.layout
    if not address or layout is None:
        return show_address(address, view)
    before = view.entry.get(index)
    after = view.exit.get(index)
    if argument.kind is not Kind.OUT:
        after = None if argument.before_only or view.failed else after
        if not before:
            return layout.show(after, view) if after else show_address(address, view)
        text = layout.show(before, view)
        changed = layout.show(after, view) if after and after.data != before.data else text
        if changed == text:
            return text
        return f"{text[:-1]} => {changed[1:]}" if layout.changes else f"{text} => {changed}"
    if view.failed:
        return show_address(address, view)
    if not after and view.ret == 0 and ArgFlag.FILLED in argument.flags:
        after = Piece(b"", 0)
    return layout.show(after, view) if after else show_address(address, view)
