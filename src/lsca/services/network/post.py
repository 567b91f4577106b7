# SPDX-License-Identifier: Apache-2.0
"""Carries datagrams between programs and the addresses that they mean: late, few, recorded, answered by a function.

Each address that programs send to has a box, a socket of its own on this machine, to which they send instead, and from
which its answers come to them. Each socket of a program has an alias, a socket that sends for it and is answered in its
stead. One thread does all of it. What programs see are real datagrams in real sockets. Nothing here knows of calls.
"""

import heapq
import itertools
import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from lsca.handlers.reports import to_stderr
from lsca.live.address import Address
from lsca.services.network.boxes import (
    Alias,
    Answerer,
    Box,
    Shape,
    Stuck,
    Who,
    address_of,
    family_of,
    outgoing,
    received,
    send,
    somewhere,
    where,
)
from lsca.services.network.refusing import refuse
from lsca.services.network.relay import LAST_WORDS, start
from lsca.services.network.tape import Player, Recorder

ALIASES_MOST: Final = 1000
AT_ONCE: Final = 64  # datagrams of one socket before others have their turn
AGAIN: Final = 0.002  # seconds until a full socket is tried again
_numbers: Final = itertools.count(1)


class Post:
    """All boxes and aliases of a run. `stand` is told of each new box. Several threads may ask at once."""

    def __init__(
        self,
        shape: Shape,
        stand: Callable[[Address, Address], None],
        *,
        recorder: Recorder | None = None,
        player: Player | None = None,
        names: Callable[[Address], Iterable[str]] = lambda address: (),
    ) -> None:
        self._shape, self._stand = shape, stand
        self._recorder, self._player, self._names = recorder, player, names
        self._boxes: dict[tuple[str, int], Box] = {}
        self._aliases: OrderedDict[tuple[int, object], Alias] = OrderedDict()
        self._readers: dict[int, Callable[[int], None]] = {}
        self._later: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._under_way = 0  # datagrams that have yet to arrive where programs have sent them
        self._lock = threading.Lock()
        self._poll: select.epoll | None = None
        self._bell = -1  # what wakes the thread
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def box(
        self, meant: Address, target: Address | Answerer | None = None, at: Address | None = None
    ) -> Box:
        """The box for an address. OSError if nothing can be sent there, as the kernel says or the tape."""
        meant = somewhere(meant)
        key = (str(meant), meant.family)
        with self._lock:
            if key in self._boxes:
                return self._boxes[key]
        local = "" if callable(target) else self._probe(meant, target or meant)
        with self._lock:
            if key not in self._boxes:
                box = self._boxes[key] = Box(meant, target or meant, at)
                box.local = local
                self._begin()
                self._stand(box.address, meant)
                self._watch(box.socket, lambda events: self._from_program(box))
                if callable(target):
                    start(lambda: self._answer(box), "lsca-answer")
            return self._boxes[key]

    def _begin(self) -> None:
        if self._poll is None:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._poll = select.epoll()
            self._poll.register(self._bell, select.EPOLLIN)
            self._thread = start(self._run, "lsca-post")

    def _probe(self, meant: Address, target: Address) -> str:
        """The own host of a socket that is connected there. OSError if there is no way."""
        if self._player is not None:
            failed = self._player.datagrams_fail(meant)
            if failed:
                raise OSError(failed, os.strerror(failed))
            return ""
        try:
            with socket.socket(family_of(target), socket.SOCK_DGRAM) as s:
                s.connect(where(target))
                return "" if target.family == socket.AF_UNIX else str(s.getsockname()[0])
        except OSError as error:
            if self._recorder is not None:
                self._recorder.begin_datagrams(meant, self._names(meant), error.errno or 0)
            raise

    # ---- the thread ----

    def _watch(self, s: socket.socket, reader: Callable[[int], None]) -> None:
        assert self._poll is not None
        self._readers[s.fileno()] = reader
        self._poll.register(s.fileno(), select.EPOLLIN)

    def _run(self) -> None:
        assert self._poll is not None
        while not self._is_closed:
            with self._lock:
                first = self._later[0][0] if self._later else None
            wait = -1.0 if first is None else max(first - time.monotonic(), 0)
            for fd, events in self._poll.poll(wait):
                if fd == self._bell:
                    os.eventfd_read(fd)
                elif fd in self._readers:  # closed meanwhile, if not
                    _guarded(self._readers[fd], events)
            self._deliver()

    def _deliver(self) -> None:
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._later or self._later[0][0] > now:
                    return
                _, _, is_out, act = heapq.heappop(self._later)
            _guarded(act)
            if is_out:
                self._under_way -= 1

    def _at(self, due: float | None, act: Callable[[], None], *, out: bool) -> None:
        """Has something done when it is due. What is due at once waits for what is before it all the same."""
        if due is None:
            return
        with self._lock:
            heapq.heappush(self._later, (due, next(_numbers), out, act))
            self._under_way += out
        if threading.current_thread() is not self._thread:
            os.eventfd_write(self._bell, 1)

    # ---- from programs ----

    def _from_program(self, box: Box) -> None:
        for _ in range(AT_ONCE):
            self._under_way += 1  # before it is no longer in the socket, for `settle`
            try:
                try:
                    data, who = received(box.socket)
                except OSError:
                    return
                alias = self._alias(box, who)
                self._note(alias, box, "sent", data)
                due = alias.out.due(len(data), time.monotonic())
                self._at(due, lambda a=alias, d=data: self._send(a, box, d), out=True)  # type: ignore[misc]
            finally:
                self._under_way -= 1

    def _alias(self, box: Box, who: Who) -> Alias:
        key = (box.meant.family, who)
        alias = self._aliases.get(key)
        if alias is None:
            box.aliases += 1
            alias = Alias(who, self._shape, f"{box.meant} {box.aliases}")
            self._aliases[key] = alias
            if len(self._aliases) > ALIASES_MOST:
                _, old = self._aliases.popitem(last=False)
                for s in old.far.values():
                    self._readers.pop(s.fileno(), None)
                old.close()
        self._aliases.move_to_end(key)
        alias.last = box
        return alias

    def _send(self, alias: Alias, box: Box, data: bytes) -> None:
        target = box.target
        if callable(target):
            box.todo.put((alias, data))
        elif self._player is not None and box.is_taped:
            self._play(alias, box, data)
        else:
            place = where(target)
            alias.boxes[place] = box
            far = self._far(alias, target)
            self._pass_on(alias.stuck[0], lambda: send(far, data, place))

    def _pass_on(self, stuck: Stuck, attempt: Callable[[], bool]) -> None:
        if not stuck.pass_on(attempt):
            self._at(time.monotonic() + AGAIN, lambda: self._retry(stuck), out=False)

    def _retry(self, stuck: Stuck) -> None:
        if not stuck.retry():
            self._at(time.monotonic() + AGAIN, lambda: self._retry(stuck), out=False)

    def _far(self, alias: Alias, target: Address) -> socket.socket:
        family = family_of(target)
        if family not in alias.far:
            s = alias.far[family] = outgoing(family)
            self._watch(s, lambda events: self._from_others(alias, s, events))
        return alias.far[family]

    # ---- to programs ----

    def _from_others(self, alias: Alias, s: socket.socket, events: int) -> None:
        if events & select.EPOLLERR:
            self._failed(alias, s)
        for _ in range(AT_ONCE):
            try:
                data, source = received(s)
            except OSError:
                return
            box = alias.boxes.get(source) or self._stranger(alias, source)
            if box is not None:
                self._give(alias, box, data)

    def _stranger(self, alias: Alias, source: Who) -> Box | None:
        """The box of somebody who answers from another address than the one that was sent to."""
        if not isinstance(source, tuple) or alias.last is None:
            return alias.last
        address = address_of(source)
        try:
            box = self.box(address.within(alias.last.meant.family))
        except OSError:
            return None
        alias.boxes[source] = box
        return box

    def _give(self, alias: Alias, box: Box, data: bytes) -> None:
        """Has a program receive a datagram, unless it gets lost."""
        with self._lock:  # functions answer in threads of their own
            due = alias.back.due(len(data), time.monotonic())
        if due is not None:
            self._note(alias, box, "received", data)
            back = alias.stuck[1]
            self._at(
                due,
                lambda: self._pass_on(back, lambda: box.send(data, alias.who)),
                out=False,
            )

    def _failed(self, alias: Alias, s: socket.socket) -> None:
        """A datagram has come back: what is there is not for it. Who is connected to that address is told."""
        while True:
            try:
                *_, place = s.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            except OSError:
                s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # else it stays
                return
            box = alias.boxes.get(place)
            if box is not None:
                self._refuse(alias, box)

    def _refuse(self, alias: Alias, box: Box) -> None:
        if self._recorder is not None and box.is_taped and box in alias.numbers:
            self._recorder.refused(alias.numbers[box])
        due = time.monotonic() + self._shape.latency
        self._at(due, lambda: refuse(box.socket, box.address, alias.who, box.connected), out=False)

    # ---- functions and tapes ----

    def _answer(self, box: Box) -> None:
        """The thread of a function: its answers, in the order of what it was asked."""
        assert callable(box.target)
        while (item := box.todo.get()) is not None:
            alias, data = item
            try:
                replies = box.target(box.meant, data)
                if isinstance(replies, bytes | bytearray | memoryview):
                    replies = (bytes(replies),)
                for reply in replies or ():
                    self._give(alias, box, bytes(memoryview(reply)))
            except Exception as error:
                name = getattr(box.target, "__name__", repr(box.target))
                to_stderr(
                    f"{name}, which answers {box.meant}, raised {type(error).__name__}: {error}"
                )
            finally:
                box.todo.task_done()

    def _note(self, alias: Alias, box: Box, side: str, data: bytes) -> None:
        recorder = self._recorder
        if recorder is None or not box.is_taped:
            return
        source = ""
        with self._lock:
            if side == "received" and box not in alias.numbers and alias.last is not None:
                box, source = alias.last, str(box.meant)
            if box not in alias.numbers:
                alias.numbers[box] = recorder.begin_datagrams(box.meant, self._names(box.meant))
        recorder.datagram(alias.numbers[box], side, data, source)

    def _play(self, alias: Alias, box: Box, data: bytes) -> None:
        player = self._player
        assert player is not None
        if box not in alias.letters:
            alias.letters[box] = player.next_datagrams(box.meant, box.user)
        letters = alias.letters[box]
        if letters is None:
            self._refuse(alias, box)
            return
        for piece in letters.sent(data, player.complain):
            if piece.side == "failed":
                self._refuse(alias, box)
                continue
            source = box
            if piece.source:
                source = self.box(Address.of(piece.source).within(box.meant.family))
            self._give(alias, source, piece.data)

    # ---- the end ----

    def settle(self) -> None:
        """Until what programs have sent has arrived, as they have ended; not for ever."""
        end = time.monotonic() + LAST_WORDS
        while self._thread is not None and time.monotonic() < end:
            boxes = list(self._boxes.values())
            poll = select.poll()
            for box in boxes:
                poll.register(box.socket, select.POLLIN)
            if (
                not poll.poll(0)
                and not self._under_way
                and not any(box.todo.unfinished_tasks for box in boxes)
            ):
                return
            time.sleep(0.005)

    def close(self) -> None:
        """Ends all."""
        self._is_closed = True
        if self._thread is not None:
            os.eventfd_write(self._bell, 1)
            self._thread.join()
            os.close(self._bell)
        self._thread = None
        for box in self._boxes.values():
            box.todo.put(None)
            box.socket.close()
        for alias in self._aliases.values():
            alias.close()


def _guarded(act: Callable[..., object], *words: object) -> None:
    """What goes wrong with one datagram, as where a tape finds no room, is said, and the others go on."""
    try:
        act(*words)
    except Exception as error:
        to_stderr(f"a datagram is lost: {type(error).__name__}: {error}")
