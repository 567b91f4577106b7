# SPDX-License-Identifier: Apache-2.0
"""One way of a stream as native/agent/stream has it, in steps as small as what the other end can see of them.

`explore` goes through every order of the steps of one sender and one receiver, with a ring of two bytes: the switch to
the ring at any byte, the way back at any moment, a sender that waits for room, and the end. The names of the steps say
where they are in the C code. `Rules` leaves one of the protocol's rules out, which must then show.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

BELL = -1
FREE, SENDER, RINGER, RECEIVER = 0, 1, 2, 3
ENDLESS = 99


class Wrong(Exception):
    """A byte is lost, doubled, out of order or taken for a bell; or somebody sleeps for ever."""


@dataclass(frozen=True)
class Rules:
    """What the protocol insists on."""

    looks_before_sleeping: bool = (
        True  # sleep() of receive.c: the ring once more, after it is said that one sleeps
    )
    says_that_it_sleeps: bool = True  # the same: sleepers
    rings_with_lock: bool = True  # stream_bell() of move.c
    drops_bells_before_bytes: bool = (
        True  # by_kernel() of receive.c, what follows when it is the kernel's again
    )
    goes_back_with_locks: bool = True  # stream_send_back() of back.c
    looks_at_the_end: bool = (
        True  # receive() of receive.c: the ring once more, before it is said to be the end
    )
    looks_before_napping: bool = True  # lie_down() of naps.c: all of may_nap() once more
    wakes_by_ring: bool = True  # stream_ring_bell() of move.c: nap_sent()
    wakes_when_back: bool = True  # go_back() of back.c: nap_end()
    wakes_at_the_end: bool = True  # stream_doubt() of descriptors.c: the same
    posts_once: bool = True  # nap_end() of naps.c: only who has set the word back


class State(NamedTuple):
    """`socket`: bytes by their number, and bells; `ring` the same without bells."""

    sender: str = "idle"
    ringer: str = ""
    next: int = 0  # byte to be sent
    receiver: str = "lock"
    got: int = 0
    most: int = 0  # by_kernel(): that are asked for
    again: bool = False
    items: tuple[int, ...] = ()  # that recvfrom has given
    ended: bool = False  # the receiver has seen the end
    socket: tuple[int, ...] = ()
    closed: bool = False
    ring: tuple[int, ...] = ()
    is_on: bool = False
    came_from: int = 0  # `from`
    came: int = 0
    is_back: bool = False
    is_poured: bool = False
    bells: int = 0
    taken: int = 0
    sleepers: int = 0
    nap: bool = False
    posts: int = 0  # the semaphore
    late: int = 0  # posts to naps that were over
    doubt: bool = False
    after_nap: str = ""  # what the sender does then
    wants_room: int = 0
    send_lock: int = FREE
    read_lock: int = FREE


ROOM = 2
Next = Iterator[State]


def source(s: State) -> str:
    """stream_source() of stream.h."""
    if not s.is_on or s.came < s.came_from:
        return "kernel"
    return "again" if s.is_back and not s.ring else "ring"


def may_ring(s: State) -> bool:
    return s.is_on and not s.is_back and s.bells == s.taken


# ---- send.c, move.c, back.c ----


def send(s: State, count: int, rules: Rules) -> Next:
    """What the sender may do next."""
    step = s.sender
    if step == "idle":
        if s.next < count:
            yield s._replace(sender="lock")
        elif not s.ringer:
            yield look_for_nap(s._replace(doubt=True), "end", rules.wakes_at_the_end)
        if s.is_on and not s.is_back:
            yield s._replace(sender="back: read lock" if rules.goes_back_with_locks else "back")
    elif step == "lock" and s.send_lock == FREE:
        yield s._replace(sender="put", send_lock=SENDER)
    elif step == "put":
        yield from put(s, rules)
    elif step == "look for naps":
        if s.nap:
            yield s._replace(sender="post", nap=not rules.posts_once)
        else:
            yield s._replace(sender=s.after_nap)
    elif step == "post":
        yield s._replace(sender=s.after_nap, posts=s.posts + 1)
    elif step == "end" and not s.closed:
        yield s._replace(closed=True)
    elif step == "kernel":
        yield s._replace(sender="idle", socket=(*s.socket, s.next), next=s.next + 1)
    elif step == "look for sleepers":
        rings = s.sleepers and may_ring(s) and not s.ringer
        yield s._replace(sender="idle", ringer="bell" if rings else s.ringer)
    elif step == "full":
        yield s._replace(sender="full, said", wants_room=1)
    elif step == "full, said":
        yield s._replace(sender="asleep" if len(s.ring) == ROOM else "woken")
    elif step == "woken":
        yield s._replace(sender="lock", wants_room=0)
    elif step == "back: read lock" and s.read_lock == FREE:
        yield s._replace(sender="back: send lock", read_lock=SENDER)
    elif step == "back: send lock" and s.send_lock == FREE:
        yield s._replace(sender="back", send_lock=SENDER)
    elif step == "back":
        s = look_for_nap(s._replace(is_back=True), "idle", rules.wakes_when_back)
        if rules.goes_back_with_locks:
            s = s._replace(send_lock=FREE, read_lock=FREE)
        if s.came >= s.came_from:
            s = s._replace(
                is_poured=True,
                socket=s.socket + s.ring,
                came_from=s.came_from + len(s.ring),
                ring=(),
            )
        yield s


def ring(s: State, rules: Rules) -> Next:
    """stream_bell(), by a thread of the sender's while others go on."""
    if s.ringer == "bell" and not rules.rings_with_lock:
        yield s._replace(ringer="locked")
    elif s.ringer == "bell" and s.send_lock == FREE:
        yield s._replace(ringer="locked", send_lock=RINGER)
    elif s.ringer == "locked":
        after = s._replace(ringer="ring it", bells=s.bells + 1)
        yield after if may_ring(s) else unlocked(s, rules)
    elif s.ringer == "ring it":
        yield unlocked(s._replace(socket=(*s.socket, BELL)), rules)


def unlocked(s: State, rules: Rules) -> State:
    return s._replace(ringer="", send_lock=FREE if rules.rings_with_lock else s.send_lock)


def look_for_nap(s: State, after: str, looks: bool) -> State:
    """nap_end() of naps.c."""
    return s._replace(sender="look for naps" if looks else after, after_nap=after)


def put(s: State, rules: Rules) -> Next:
    if s.is_back:
        yield s._replace(sender="kernel", send_lock=FREE)
        return
    if not s.is_on:
        yield s._replace(
            sender="kernel", send_lock=FREE
        )  # the other end does not have the ring yet
        yield s._replace(is_on=True, came_from=s.next)
    elif len(s.ring) == ROOM:
        yield s._replace(sender="full", send_lock=FREE)
    else:
        s = s._replace(send_lock=FREE, ring=(*s.ring, s.next), next=s.next + 1)
        yield look_for_nap(s, "look for sleepers", rules.wakes_by_ring)


# ---- receive.c ----


def deliver(s: State, items: tuple[int, ...]) -> State:
    for item in items:
        if item != s.got:
            what = "a bell" if item == BELL else f"byte {item}"
            raise Wrong(f"{what} in place of byte {s.got}")
        s = s._replace(got=s.got + 1)
    return s


def take_bells(s: State) -> State:
    """stream_take_bells(): as many as there should be, of those that are there."""
    count = min(s.bells - s.taken, len(s.socket))
    if any(item != BELL for item in s.socket[:count]):
        raise Wrong(f"byte {max(s.socket[:count])} is taken for a bell")
    return s._replace(socket=s.socket[count:], taken=s.taken + count)


def receive(s: State, rules: Rules) -> Next:
    """What the receiver may do next."""
    step = s.receiver
    if step == "lock" and s.read_lock == FREE:
        yield s._replace(receiver="take", read_lock=RECEIVER)
    elif step == "take":
        yield from take(s, rules)
    elif step == "drop bells":  # stream_drop_bells(): one that was rung is on its way
        if s.bells == s.taken:
            yield s._replace(receiver="take")
        elif s.socket:
            yield take_bells(s)
    elif step == "recv":
        for count in {1, len(s.socket)} if s.socket else ():
            count = min(count, s.most)
            yield s._replace(receiver="split", items=s.socket[:count], socket=s.socket[count:])
        if not s.socket:
            # The end that the kernel shows, of one who was killed, may have come after the switch.
            is_end = s.closed and not (rules.looks_at_the_end and source(s) == "ring" and s.ring)
            after = "done" if is_end else "lock" if s.closed else "empty"
            yield s._replace(receiver=after, read_lock=FREE)
    elif step == "split":
        yield split(s)
    elif step == "ring was read":
        if s.bells != s.taken and not s.ring:
            s = take_bells(s)
        woken = s.wants_room and s.sender == "asleep"
        yield s._replace(receiver="lock", read_lock=FREE, sender="woken" if woken else s.sender)
    elif step == "empty":
        if s.ended:
            yield s._replace(receiver="done")
        else:
            yield sleeps(s, rules)
            drained = min(s.late, s.posts)
            yield s._replace(
                receiver="naps, said",
                nap=True,
                late=s.late - drained,
                posts=s.posts - drained,
            )
    elif step == "naps, said":
        if may_nap(s) or not rules.looks_before_napping:
            yield s._replace(receiver="naps")
        else:
            yield sleeps(s._replace(nap=False, late=s.late + (not s.nap)), rules)
    elif step == "naps":  # no time limit: nobody shall need it
        if s.posts:
            yield s._replace(receiver="woken", posts=s.posts - 1)
    elif step == "woken":
        if s.nap and not s.late:
            raise Wrong("a post that nobody has made")
        yield sleeps(s._replace(nap=False, late=s.late - s.nap), rules)
    elif step == "sleeps, said":
        is_there = source(s) == "ring" and s.ring and rules.looks_before_sleeping
        yield s._replace(receiver="awake" if is_there else "peek")
    elif step == "peek":
        if s.socket:
            yield s._replace(receiver="awake")
        elif s.closed:
            yield s._replace(receiver="awake", ended=True)
    elif step == "awake":
        is_bell = not s.ended and source(s) == "ring" and not s.ring
        yield s._replace(receiver="awake: lock" if is_bell else "lock", sleepers=0)
    elif step == "awake: lock" and s.read_lock == FREE:
        yield s._replace(receiver="awake, locked", read_lock=RECEIVER)
    elif step == "awake, locked":
        if not s.ring and not s.is_back:
            s = take_bells(s)
        yield s._replace(receiver="lock", read_lock=FREE)


def may_nap(s: State) -> bool:
    """may_nap() of naps.c."""
    return source(s) == "ring" and not s.ring and not s.is_back and not s.doubt


def sleeps(s: State, rules: Rules) -> State:
    return s._replace(receiver="sleeps, said", sleepers=1 if rules.says_that_it_sleeps else 0)


def take(s: State, rules: Rules) -> Next:
    where = source(s)
    if where == "ring":
        if not s.ring:
            yield s._replace(receiver="empty", read_lock=FREE)
        for count in {1, len(s.ring)} if s.ring else ():
            read = deliver(s, s.ring[:count])
            yield read._replace(receiver="ring was read", ring=s.ring[count:])
        return
    again = where == "again" or (s.is_back and not s.ring and s.bells == s.taken)
    if (again or s.is_poured) and s.bells != s.taken and rules.drops_bells_before_bytes:
        yield s._replace(receiver="drop bells")
        return
    most = ENDLESS if again or not s.is_on else s.came_from - s.came
    if most:
        yield s._replace(receiver="recv", most=most, again=again)
    else:
        yield s._replace(receiver="empty", read_lock=FREE)


def split(s: State) -> State:
    """The end of by_kernel(): what of it are bells?"""
    items, count = s.items, len(s.items)
    if not s.again and s.is_on and s.came + count > s.came_from:
        count = s.came_from - s.came
        if any(item != BELL for item in items[count:]):
            raise Wrong(f"byte {max(items[count:])} is taken for a bell")
        s = s._replace(taken=s.taken + len(items) - count)
    counts = not s.again or s.came < s.came_from
    s = deliver(s, items[:count])
    return s._replace(
        receiver="lock" if count else "empty",
        items=(),
        came=s.came + count if counts else s.came,
        read_lock=FREE,
    )


def misses_something(s: State) -> bool:
    """The sender may say nothing more for as long as it likes."""
    is_there = s.ring or any(item != BELL for item in s.socket)
    return s.receiver == "naps" and not s.posts and bool(is_there) and s.sender == "idle"


def explore(count: int, rules: Rules | None = None) -> int:
    """How many states there are while `count` bytes are sent. Wrong, with the way that led there."""
    rules = rules or Rules()
    first = State()
    came_by: dict[State, State | None] = {first: None}
    waiting = [first]
    while waiting:
        state = waiting.pop()
        try:
            following = [
                *send(state, count, rules),
                *ring(state, rules),
                *receive(state, rules),
            ]
            if state.receiver == "done" and state.got != count:
                raise Wrong(f"the end after {state.got} bytes of {count}")
            if misses_something(state):
                raise Wrong(f"there is something, and somebody naps: {state}")
            if not following and state.receiver != "done":
                raise Wrong(f"nobody goes on: {state}")
        except Wrong as wrong:
            steps = []
            at: State | None = state
            while at is not None:
                steps.append(f"{at.sender} | {at.receiver}")
                at = came_by[at]
            raise Wrong(f"{wrong}, after: {'; '.join(reversed(steps))}") from None
        for state_after in following:
            if state_after not in came_by:
                came_by[state_after] = state
                waiting.append(state_after)
    return len(came_by)
