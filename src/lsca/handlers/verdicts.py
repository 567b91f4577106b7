# SPDX-License-Identifier: Apache-2.0
"""What a handler may answer."""

import errno
import os
import signal as signals
from enum import Enum
from typing import Final, NamedTuple, Protocol

from lsca.errors import HandlerError, near

ERRNO_MAX: Final = 4095
SIGNAL_MAX: Final = 64


class Kind(Enum):
    """What becomes of the call."""

    GO_ON = "go on"
    RETURN = "return"
    KILL = "kill"
    FILE = "file"


class Readable(Protocol):
    """Whatever has a `read` that gives all of it."""

    def read(self) -> bytes | str: ...


class Verdict(NamedTuple):
    """A handler's answer; made by `go_on`, `ret`, `fail`, `kill` and `file`."""

    kind: Kind
    value: int = 0
    content: bytes | int | None = None


go_on: Final = Verdict(Kind.GO_ON)


def ret(value: int) -> Verdict:
    """The call is not made and returns `value`."""
    if not isinstance(value, int):
        raise HandlerError(f"lsca.ret wants a number, not {type(value).__name__}")
    return Verdict(Kind.RETURN, int(value))


def fail(error: int | str) -> Verdict:
    """The call is not made and fails with this errno: a number, or its name."""
    return Verdict(Kind.RETURN, -errno_of(error))


def kill(signal: int | str = signals.SIGKILL) -> Verdict:
    """The call is not made; its process gets this signal instead."""
    return Verdict(Kind.KILL, signal_of(signal))


def file(content: bytes | str | Readable | int) -> Verdict:
    """The call is not made and returns a new descriptor, on which this can be read: bytes, text, a file, a descriptor.

    A file's own descriptor is opened anew for the program; other readable objects are read to their end.
    """
    if isinstance(content, bytes | int):
        return Verdict(Kind.FILE, content=content)
    if isinstance(content, str):
        return Verdict(Kind.FILE, content=content.encode("utf-8", "surrogateescape"))
    fileno = getattr(content, "fileno", None)
    if fileno is not None:
        try:
            return Verdict(Kind.FILE, content=int(fileno()))
        except OSError:  # io.BytesIO has the method, but no descriptor
            pass
    data = content.read()
    return Verdict(Kind.FILE, content=data.encode() if isinstance(data, str) else bytes(data))


def errno_of(error: int | str) -> int:
    """The number of an errno. HandlerError for one that there is not."""
    if isinstance(error, str):
        number = getattr(errno, error, None) if error.startswith("E") else None
        if number is None:
            names = list(errno.errorcode.values())
            raise HandlerError(f"there is no errno {error!r}{near(error.upper(), names)}")
        return int(number)
    if not isinstance(error, int) or not 1 <= error <= ERRNO_MAX:
        raise HandlerError(f"an errno is a name or a number from 1 to {ERRNO_MAX}, not {error!r}")
    return int(error)


def signal_of(signal: int | str) -> int:
    """The number of a signal. HandlerError for one that there is not."""
    if isinstance(signal, str):
        name = signal if signal.startswith("SIG") else f"SIG{signal}"
        number = getattr(signals.Signals, name, None)
        if number is None:
            names = [one.name for one in signals.Signals]
            raise HandlerError(f"there is no signal {signal!r}{near(name.upper(), names)}")
        return int(number)
    if not isinstance(signal, int) or not 1 <= signal <= SIGNAL_MAX:
        raise HandlerError(f"a signal is a name or a number from 1 to {SIGNAL_MAX}, not {signal!r}")
    return int(signal)


def memory_file(data: bytes) -> int:
    """A descriptor of this process on these bytes."""
    fd = os.memfd_create("lsca", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as f:
        f.write(data)
    return fd
