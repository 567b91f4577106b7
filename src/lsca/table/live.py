# SPDX-License-Identifier: Apache-2.0
"""A call that waits for its answer: what an instance of a row is.

A handler reads arguments by their names, each fetched from the program when it is first asked for; it can have the call
made (`proceed`), with other arguments (`replace`), and fill what the program will read (`fill`). Whether and how the
call is answered is the handler's verdict and not decided here.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from lsca.live.address import Address
from lsca.live.opened import File
from lsca.live.process import Process, Thread
from lsca.live.request import Request, Surroundings
from lsca.table.arguments import ArgFlag, Argument, Kind, Length
from lsca.table.reading import READ, WRITTEN, after, before, empty, number, room, to_bytes, value_of
from lsca.table.text import AARCH64, Piece, View, signed

MACHINE: Final = {"arm64": AARCH64}.get(os.uname().machine, os.uname().machine)
AT_FDCWD: Final = -100
RESULT_MASK: Final = (1 << 64) - 1
# A descriptor that only says where a relative path begins is not what a call is about.
DIRECTORIES: Final = ("dirfd", "olddirfd", "newdirfd", "from_dirfd", "to_dirfd")


class _Pathname(Protocol):
    @property
    def pathname(self) -> str: ...


class _Oldpath(Protocol):
    @property
    def oldpath(self) -> str: ...


class _Filename(Protocol):
    @property
    def filename(self) -> str: ...


class _Fd(Protocol):
    @property
    def fd(self) -> int: ...


class _Sockfd(Protocol):
    @property
    def sockfd(self) -> int: ...


class _Oldfd(Protocol):
    @property
    def oldfd(self) -> int: ...


class _InFd(Protocol):
    @property
    def in_fd(self) -> int: ...


class _FdIn(Protocol):
    @property
    def fd_in(self) -> int: ...


class _Epfd(Protocol):
    @property
    def epfd(self) -> int: ...


_HasPath = _Pathname | _Oldpath | _Filename
_HasFd = _Fd | _Sockfd | _Oldfd | _InFd | _FdIn | _Epfd


class Reader:
    """An argument on its row: on a live call the value, on the class the row's own fact of that name."""

    def __init__(self, name: str, fact: object) -> None:
        self.name = name
        self.fact = fact

    def __get__(self, call: "Call | None", row: type) -> object:
        if call is None:
            if self.fact is None:
                raise AttributeError(
                    f"{row.__name__} is a row: `arguments` describes its arguments"
                )
            return self.fact
        value = call.__dict__[self.name] = call.read_argument(self.name)
        return value


class _Late:
    """What a call has only once somebody asks for it: made then, and kept."""

    def __init__(self, make: Callable[["Call"], Any]) -> None:
        self.make = make
        self.name = make.__name__

    def __get__(self, call: "Call | None", row: type) -> Any:
        assert call is not None
        value = call.__dict__[self.name] = self.make(call)
        return value


class Call:
    """One call of a program, waiting. `result` is what it returned, a negative errno for a failure, once it was made.

    Where an argument is called as one of these attributes, it is the argument that is meant.
    """

    name: ClassVar[Any]  # str; but an argument may have this name too, before it is collected
    arguments: ClassVar[Mapping[str, Argument]]
    order: ClassVar[Mapping[str, tuple[str, ...]]]
    _order: ClassVar[tuple[str, ...]]  # on this machine

    # There is a call for every question, and most handlers ask it for little: what is the same for all is the class's
    # until it changes.
    _changed = False
    _result: int | None = None
    _full: tuple[int, int] | None = None
    _touched = False  # one of the above is no longer so

    def __init__(self, request: Request, surroundings: Surroundings | None = None) -> None:
        # lsca.handlers.dispatch does this by itself, without a call
        self._request = request
        self._surroundings = surroundings or Surroundings()

    if TYPE_CHECKING:
        _args: list[int]
        _memory: dict[int, bytes]
    else:

        @_Late
        def _args(self) -> list[int]:
            return list(self._request.args)

        @_Late
        def _memory(self) -> dict[int, bytes]:
            return {}

    # ---- who ----

    @property
    def nr(self) -> int:
        """The call's number."""
        return self._request.nr

    @property
    def args(self) -> tuple[int, ...]:
        """The six registers, as they are to be passed: 64 bits without sign."""
        return tuple(self._args)

    @property
    def process(self) -> Process:
        return self._surroundings.processes.get(self._request.pid)

    @property
    def thread(self) -> Thread:
        return Thread(self._request.tid, self._request.pid)

    @property
    def interrupted(self) -> bool:
        """A signal waits for the calling thread: whatever takes long should come to an end."""
        return self._request.interrupted

    # ---- what ----

    @property
    def path(self: _HasPath) -> str:  # type: ignore[misc] # for rows with a path, and only those
        """The call's path, or its first one, as the program gave it."""
        assert isinstance(self, Call)
        return str(getattr(self, self.path_names()[0]))

    @property
    def file(self: _HasFd) -> File:  # type: ignore[misc] # for rows with a descriptor, and only those
        """What the call's descriptor, or its first one, stands for."""
        assert isinstance(self, Call)
        return self.opened(self.fd_names()[0])

    @property
    def peer(self: _HasFd) -> Address | None:  # type: ignore[misc]
        """The other end: the address that the call names, else the one that its socket is connected to."""
        assert isinstance(self, Call)
        for name, argument in self.arguments.items():
            if argument.seen is Address and argument.kind is Kind.IN:
                address = getattr(self, name)
                if isinstance(address, Address) and address.family:
                    return address
        return self.opened(self.fd_names()[0]).peer

    @classmethod
    def path_names(cls) -> tuple[str, ...]:
        """The arguments that are paths."""
        return tuple(n for n, a in cls.arguments.items() if ArgFlag.PATH in a.flags)

    @classmethod
    def fd_names(cls) -> tuple[str, ...]:
        """The arguments that are descriptors, but for those that say where a path begins."""
        return tuple(
            name
            for name, argument in cls.arguments.items()
            if argument.kind is Kind.FD and name not in DIRECTORIES
        )

    def opened(self, name: str) -> File:
        """What the descriptor in argument `name` stands for."""
        fd = signed(self._args[self._order.index(name)], 32)
        return File(fd, self._surroundings.holder(self._request.pid))

    def absolute(self, name: str | None = None) -> str:
        """Argument `name`, or the first path, from the root on, without "." and ".."; links are not followed.

        For a call that has no path, where its descriptor leads to. This is what `path=` is compared with.
        """
        names = (name,) if name else self.path_names()
        if not names:
            fds = self.fd_names()
            return self.opened(fds[0]).path if fds else ""
        path = str(getattr(self, names[0]))
        if not path and "AT_EMPTY_PATH" not in str(getattr(self, "flags", "")):
            return ""
        if not path.startswith("/"):
            start = self._start(names[0])
            path = f"{start}/{path}" if path else start
        return os.path.normpath(path) if path.startswith("/") else path

    def _start(self, name: str) -> str:
        """The directory that a relative path begins at: that of the descriptor before it, or the working directory."""
        at = self._order.index(name)
        before = self._order[at - 1] if at else name
        named = at and self.arguments[before].kind is Kind.FD
        if named and signed(self._args[at - 1], 32) != AT_FDCWD:
            return self.opened(before).path
        holder = self._surroundings.holder(self._request.pid)
        try:
            return os.readlink(f"/proc/{holder}/cwd")
        except OSError:
            return ""

    # ---- doing it ----

    @property
    def result(self) -> int | None:
        return self._result

    @property
    def failed(self) -> bool:
        return self._result is not None and -4095 <= self._result < 0

    @property
    def changed(self) -> bool:
        """`replace` was called, so that the call is no longer the program's."""
        return self._changed

    def proceed(self, *, signal: int = 0) -> int:
        """Has the call made, with what `replace` has put into it, and returns its result. At most once.

        `signal` comes to the calling thread meanwhile, and interrupts a call that waits.
        """
        if self._result is not None:
            raise RuntimeError(
                f"{self.row_name()} has been made already: it returned {self._result}"
            )
        if self.changed:
            result = self._request.proceed(tuple(self._args), self._memory, signal=signal)
        else:
            result = self._request.proceed(signal=signal)
        # The program knows of the buffer that it passed, not of the one that was sent.
        if self._full and result == self._full[0]:
            result = self._full[1]
        self._result = result
        self._touched = True
        for name, argument in self.arguments.items():
            if argument.kind in WRITTEN:
                self.__dict__.pop(name, None)
        return result

    def replace(self, **values: object) -> None:
        """Changes arguments before the call is made: `call.replace(path="/other")`.

        A buffer's length argument follows it. TypeError and ValueError for what the call does not take.
        """
        if self._result is not None:
            raise RuntimeError(f"{self.row_name()} has been made already; use `fill`")
        for given, value in values.items():
            self._changed = self._touched = True
            name = self._argument_name(given)
            argument, index = self.arguments[name], self._order.index(name)
            if argument.seen is int:
                if not isinstance(value, int):
                    raise TypeError(f"{name}: int is wanted, not {type(value).__name__}")
                self._args[index] = value & RESULT_MASK
            elif argument.kind in READ and argument.kind is not Kind.STRINGS:
                self._replace_memory(name, value)
            else:
                raise TypeError(f"{name}: {self.row_name()} does not read it; use `fill`")
            self.__dict__.pop(name, None)

    def _replace_memory(self, name: str, value: object) -> None:
        argument, index = self.arguments[name], self._order.index(name)
        structure = argument.seen not in (str, bytes)
        now = bytes(self._bytes_before(name)) if structure else b""
        try:
            data = to_bytes(argument, value, now, MACHINE)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        self._memory[index] = data
        if argument.measure is Length.ARG and argument.length is not None and argument.layout:
            self._lengthen(argument.length, len(data) // argument.layout.size[MACHINE])
        elif argument.kind is Kind.IOV_IN:
            self._full = (len(data), len(self._bytes_before(name)))

    def _lengthen(self, name: str, length: int) -> None:
        index = self._order.index(name)
        if self.returns_size():
            self._full = (length, self._request.args[index])
        self._args[index] = length
        self.__dict__.pop(name, None)

    @classmethod
    def returns_size(cls) -> bool:
        """The result says how much of the first buffer was taken, as write's does."""
        reads = [a for a in cls.arguments.values() if a.kind in (Kind.IN, Kind.IOV_IN)]
        return bool(reads) and reads[0].seen is bytes and getattr(cls, "blocks", False)

    def fill(self, **values: object) -> int:
        """Writes what the call would write: `call.fill(buf=b"abc")`; the number of bytes that fitted.

        A structure may be given as a mapping of the members that are to differ: `call.fill(statbuf={"st_size": 0})`.
        """
        written = 0
        for given, value in values.items():
            name = self._argument_name(given)
            argument, index = self.arguments[name], self._order.index(name)
            if argument.kind not in WRITTEN:
                raise TypeError(f"{name}: {self.row_name()} does not write it; use `replace`")
            try:
                now = self._bytes_now(argument, index) if isinstance(value, Mapping) else b""
                data = to_bytes(argument, value, now, MACHINE)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name}: {error}") from None
            fitted = self._request.fill(index, data)
            written += fitted
            if argument.measure is Length.DEREF and argument.length is not None:
                self._request.write(
                    self._args[self._order.index(argument.length)],
                    len(data).to_bytes(4, "little"),
                )
            self.__dict__[name] = value_of(argument, data[:fitted], MACHINE)
        return written

    def peek(self, address: int, size: int) -> bytes:
        """Memory of the program. OSError (EFAULT) where it has none."""
        return self._request.read(address, size)

    def poke(self, address: int, data: bytes) -> None:
        """Writes memory of the program. OSError (EFAULT) where it has none."""
        self._request.write(address, data)

    # ---- reading ----

    def read_argument(self, name: str) -> object:
        """The value of an argument as things stand: before the call, or after it."""
        argument, index = self.arguments[name], self._order.index(name)
        if argument.seen is int:
            return number(argument, self._args[index], self.view())
        if self._result is not None and argument.kind in WRITTEN:
            if self.failed and ArgFlag.ON_ERROR not in argument.flags:
                return empty(argument)
            data: object = after(argument, index, self._request, self.view())
        elif argument.kind not in READ and argument.kind is not Kind.SIGMASK:
            return empty(argument)
        elif index in self._memory:
            kept = self._memory[index]
            data = kept.decode("utf-8", "surrogateescape") if argument.seen is str else kept
        else:
            data = before(argument, index, self._request)
        return value_of(argument, data, MACHINE)

    def view(self) -> View:
        """The call as the log's formatting sees it, without memory."""
        names = {name: index for index, name in enumerate(self._order)}
        return View(MACHINE, self._args, self._result, {}, {}, names, 32)

    def pieces(self) -> tuple[dict[int, Piece], dict[int, Piece]]:
        """What pointer arguments point to, before and after, as far as it can be read and the log would show it."""
        entry: dict[int, Piece] = {}
        exit: dict[int, Piece] = {}
        for name, argument in self.arguments.items():
            index = self._order.index(name)
            after_call = argument.kind in WRITTEN and self._result is not None
            try:
                if argument.kind in (Kind.STRING, Kind.IN, Kind.INOUT, Kind.IOV_IN):
                    entry[index] = _piece(self._bytes_before(name))
                if after_call and argument.kind is not Kind.MSG_OUT and not self.failed:
                    exit[index] = _piece(after(argument, index, self._request, self.view()))
            except OSError:
                continue
        return entry, exit

    def _bytes_before(self, name: str) -> bytes:
        index = self._order.index(name)
        if index in self._memory:
            return self._memory[index]
        data = before(self.arguments[name], index, self._request)
        if isinstance(data, str):
            return data.encode("utf-8", "surrogateescape")
        return data if isinstance(data, bytes) else b""

    def _bytes_now(self, argument: Argument, index: int) -> bytes:
        size = room(argument, self._request, self.view())
        return self._request.read(self._args[index], size) if size else b""

    def _argument_name(self, given: str) -> str:
        if given in self.arguments:
            return given
        paths, fds = self.path_names(), self.fd_names()
        if given == "path" and paths:
            return paths[0]
        if given == "fd" and fds:
            return fds[0]
        buffers = [n for n, a in self.arguments.items() if a.kind in (Kind.IOV_IN, Kind.IOV_OUT)]
        if given == "buf" and buffers:
            return buffers[0]
        known = ", ".join(self.arguments) or "none"
        raise TypeError(f"{self.row_name()} has no argument {given!r}; it has {known}")

    @classmethod
    def row_name(cls) -> str:
        """The call's name, whatever its arguments are called."""
        return cls.__name__

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise AttributeError(
                f"{type(self).__name__} has no argument {name!r}; it has {', '.join(self.arguments)}"
            )


def _piece(data: bytes) -> Piece:
    return Piece(bytes(data), len(data))
