# SPDX-License-Identifier: Apache-2.0
"""What descriptors stand for, worked out record by record: `lsca log -y`, `-P` and `lsca files` ask here.

Rows say what a call does to its process's descriptors (`lsca.table.effects`). Records come in order of their start;
what a call opens is there from its end on, what it closes is gone from its beginning on. A process that another one
starts has a copy of its descriptors. What was open before the log began is not known, unless the log says so.
"""

import heapq
from collections.abc import Callable
from typing import Final

from lsca.log.objects import Object, Socket, address_text, text_of
from lsca.log.reader import Record
from lsca.log.touched import F_DUPFD, named_of, pair_of, row_of, succeeded
from lsca.table import Syscall
from lsca.table.arguments import AT_FDCWD
from lsca.table.effects import Does, Effect
from lsca.table.text import FileOf, signed

CLOSE_RANGE_CLOEXEC: Final = 4
SOCKET_TYPE: Final = 0xF
PIPE: Final = "pipe:[?]"

Table = dict[int, Object]
Change = Callable[[Table], None]


class Descriptors:
    """Follows all processes of a log. `follow` wants every record, in order of their start."""

    def __init__(self, machine: str, cwd: str | None = None) -> None:
        self._machine = machine
        self._cwd = cwd
        self._tables: dict[int, Table] = {}
        self._later: list[tuple[int, int, int, Change]] = []  # when, order, pid
        self._count = 0

    def follow(self, record: Record) -> FileOf:
        """Takes in a record; gives what each descriptor of its process stands for, before and after the call."""
        self._until(record.start_ns)
        if record.kind == "start" and not record.args[1]:
            self._tables[record.pid] = dict(self._table(record.args[0]))
        elif record.kind == "fd":
            self._told(record)
        before = self._table(record.pid)
        row = row_of(record, self._machine)
        effect = row.effect if row else None
        if not row or not effect or not succeeded(record):
            return lambda fd, after: _known(before.get(fd))
        made: Table = {}
        change = self._change(record, row, effect, made)
        if change and effect.does in (Does.CLOSES, Does.CLOSES_RANGE):
            kept = dict(before)
            change(before)
            return lambda fd, after: _known(kept.get(fd))
        if change:
            self._count += 1
            heapq.heappush(self._later, (record.end_ns, self._count, record.pid, change))

        def file(fd: int, after: bool) -> str | None:
            return _known(made.get(fd) if after and fd in made else before.get(fd))

        return file

    def socket(self, pid: int, fd: int) -> Socket | None:
        """The socket that a descriptor stands for now."""
        thing = self._table(pid).get(fd)
        return thing if isinstance(thing, Socket) else None

    def _table(self, pid: int) -> Table:
        table = self._tables.get(pid)
        if table is None:
            table = self._tables[pid] = {AT_FDCWD: self._cwd} if self._cwd else {}
        return table

    def _until(self, now: int) -> None:
        """What calls that have ended by now have done."""
        while self._later and self._later[0][0] <= now:
            _, _, pid, change = heapq.heappop(self._later)
            change(self._table(pid))

    def _told(self, record: Record) -> None:
        """The log itself says what a descriptor stands for."""
        fd = signed(record.args[0], 32)
        local, peer = record.entry.get(1), record.entry.get(2)
        table = self._table(record.pid)
        if local or peer:
            old = table.get(fd)
            family = int.from_bytes((local or peer).data[:2], "little")  # type: ignore[union-attr]
            base = old if isinstance(old, Socket) else Socket(family, 1)
            table[fd] = Socket(
                base.family,
                base.type,
                address_text(local.data) if local else base.local,
                address_text(peer.data) if peer else base.peer,
            )
        elif 0 in record.entry:
            text = record.entry[0].data.decode("utf-8", "surrogateescape")
            if not (text.startswith("socket:") and isinstance(table.get(fd), Socket)):
                table[fd] = text

    def _change(
        self, record: Record, row: type[Syscall], effect: Effect, made: Table
    ) -> Change | None:
        """What the call does, to be done at its time; what it makes is put into `made` at once."""
        before = self._table(record.pid)
        order = row.order[self._machine]
        at = [order.index(name) for name in effect.args]
        args = [signed(record.args[index], 32) for index in at]
        does = effect.does
        if does is Does.CLOSES:
            return lambda table: _drop(table, args[0], args[0])
        if does is Does.CLOSES_RANGE:
            if record.args[at[2]] & CLOSE_RANGE_CLOEXEC:
                return None
            first, last = (record.args[index] & 0xFFFFFFFF for index in at[:2])
            return lambda table: _drop(table, first, last)
        if does is Does.FCHDIR:
            _copy(made, AT_FDCWD, before.get(args[0]))
        elif does is Does.CHDIR:
            paths = [named.path for named in named_of(record, self._machine, self._file(before))]
            _copy(made, AT_FDCWD, paths[0] if paths else None)
        elif does in (Does.PEER, Does.LOCAL):
            _copy(made, args[0], _addressed(before.get(args[0]), record, at[1], does))
        elif does in (Does.PIPE, Does.SOCKETPAIR):
            thing: Object = PIPE
            if does is Does.SOCKETPAIR:
                thing = Socket(args[1], args[2] & SOCKET_TYPE)
            made.update(dict.fromkeys(pair_of(record, at[0]), thing))
        else:
            self._result(record, effect, args, at, made)
        return lambda table: table.update(made)

    def _result(
        self, record: Record, effect: Effect, args: list[int], at: list[int], made: Table
    ) -> None:
        """The new descriptor that the call's result is."""
        before = self._table(record.pid)
        ret, does = record.ret, effect.does
        if does is Does.OPENS:
            paths = [named.path for named in named_of(record, self._machine, self._file(before))]
            _copy(made, ret, paths[0] if paths else None)
        elif does is Does.SOCKET:
            made[ret] = Socket(args[0], args[1] & SOCKET_TYPE)
        elif does is Does.ACCEPTS:
            listener = before.get(args[0])
            base = listener if isinstance(listener, Socket) else Socket(0, 1)
            peer = record.exit.get(at[1])
            text = address_text(peer.data) if peer else ""
            made[ret] = Socket(base.family, base.type, base.local, text)
        elif does is Does.DUPLICATES or (does is Does.FCNTL and args[1] in F_DUPFD):
            _copy(made, ret, before.get(args[0]))
        elif does is Does.MAKES and effect.text:
            piece = record.entry.get(at[0]) if at else None
            name = piece.data.decode("utf-8", "replace") if piece else ""
            made[ret] = effect.text.replace("{}", name)

    @staticmethod
    def _file(table: Table) -> FileOf:
        return lambda fd, after: _known(table.get(fd))


def _known(thing: Object | None) -> str | None:
    return None if thing is None else text_of(thing)


def _copy(made: Table, fd: int, thing: Object | None) -> None:
    """`fd` will stand for the same; for nothing that is known, if the other does."""
    if thing is not None:
        made[fd] = thing


def _drop(table: Table, first: int, last: int) -> None:
    if first == last:
        table.pop(first, None)
        return
    for fd in [fd for fd in table if first <= fd <= last]:
        del table[fd]


def _addressed(thing: Object | None, record: Record, index: int, does: Does) -> Socket | None:
    """The socket with the address that connect or bind gave it."""
    piece = record.entry.get(index)
    if not piece:
        return None
    base = (
        thing if isinstance(thing, Socket) else Socket(int.from_bytes(piece.data[:2], "little"), 1)
    )
    text = address_text(piece.data)
    if does is Does.PEER:
        return Socket(base.family, base.type, base.local, text)
    return Socket(base.family, base.type, text, base.peer)
