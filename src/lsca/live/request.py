# SPDX-License-Identifier: Apache-2.0
"""One call that waits for its answer, as the C extension hands it over; and where to ask about its surroundings."""

from collections.abc import Callable, Sequence
from typing import Protocol

from lsca.live.process import Processes


class Request(Protocol):
    """What `_native.Request` offers. Addresses are the program's; OSError where nothing is mapped there."""

    @property
    def nr(self) -> int: ...
    @property
    def args(self) -> tuple[int, ...]: ...
    @property
    def pid(self) -> int: ...
    @property
    def tid(self) -> int: ...
    @property
    def rule(self) -> int: ...
    @property
    def asked(self) -> int:
        """The call's number and the rule in one."""

    @property
    def interrupted(self) -> bool: ...

    def string(self, index: int, /) -> bytes:
        """The string that argument `index` points to, without its NUL."""

    def memory(self, index: int, /) -> bytes:
        """The memory that the call would read through argument `index`; of several buffers, one after the other."""

    def read(self, address: int, size: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> int: ...

    def fill(self, index: int, data: bytes, /) -> int:
        """Writes into the memory that the call would fill; the number of bytes that fitted."""

    def proceed(
        self,
        args: Sequence[int] | None = None,
        replace: dict[int, bytes] | None = None,
        signal: int = 0,
    ) -> int:
        """Has the program make the call, with these arguments; its result. The signal comes to its thread meanwhile."""

    def open(self, fd: int, flags: int, /) -> int:
        """Opens what this process's descriptor stands for, in the program; the new descriptor there."""

    def wait(self, seconds: float, /) -> bool:
        """Sleeps, and says whether it was interrupted: the program has been sent a signal."""


class Surroundings:
    """What calls share: the processes that are known, and who holds the descriptors of each."""

    def __init__(self, holder: Callable[[int], int] | None = None) -> None:
        self.processes = Processes()
        self._holder = holder

    def set_holder(self, holder: Callable[[int], int]) -> None:
        self._holder = holder

    def holder(self, pid: int) -> int:
        """The process that holds a process's descriptors: its proxy, or itself. It stays the same while that lives."""
        process = self.processes.get(pid)
        if process.holder is None:
            process.holder = self._holder(pid) if self._holder else pid
        return process.holder
