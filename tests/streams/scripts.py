# SPDX-License-Identifier: Apache-2.0
"""Makes scripts for ends.c: random, but such that every result is certain, whoever runs when.

A step that could wait for ever is made only beside the one that ends its wait. What is under way, and who holds which
descriptor of which end, is kept in mind while the script is written.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

KINDS = ("tcp4", "tcp6", "path", "abstract", "pair", "tcp4+one", "path+one", "pair+one")
SAFE = 40_000  # bytes that fit however they go
SAFE_SENDS = 60  # each of them takes room in the kernel
SIZES = (1, 2, 3, 7, 64, 100, 1000, 1460, 4095, 4096, 4097, 9000, 16384, 30000)
LARGE = (50_000, 65_535, 65_536, 65_537, 131_072, 200_000, 300_001, 700_000)
MAIN, THREAD = 0, 1
Steps = list[Callable[[], None]]


@dataclass
class End:
    """What is known of one end of the connection."""

    nonblocking: bool = False
    timeout: bool = False
    shut_out: bool = False
    shut_in: bool = False
    gone: bool = False
    under_way: int = 0  # what it has sent, and nobody has read
    sends: int = 0


@dataclass
class Script:
    """A script that is being written. `chance` decides everything."""

    chance: random.Random
    kind: str
    lines: list[str] = field(default_factory=list)
    ends: tuple[End, End] = field(default_factory=lambda: (End(), End()))

    def __post_init__(self) -> None:
        self.is_one = self.kind.endswith("+one")
        first = [
            {group[0] for out in (True, False) if (group := self.group(end, out))} for end in (0, 1)
        ]
        # Of each process, named after its main actor.
        self.slots: dict[int, set[int]] = (
            {0: first[0] | first[1]} if self.is_one else dict(enumerate(first))
        )
        self.process = {0: 0, 1: 0 if self.is_one else 1}
        self.next_actor = 2

    sends = "wvsm"  # calls that send and receive
    receives = "rvsm"
    safe_sends = SAFE_SENDS
    warmth = 0  # rounds of traffic more than chance wants

    # ---- who can do what

    def group(self, end: int, out: bool) -> range:
        """The numbers of that end's descriptors, those to send by or those to receive by."""
        return range(5 * end, 5 * end + 5)

    def room_of(self, n: int) -> int:
        """What a call that sends so much takes of `safe_sends`."""
        return 1

    def add(self, actor: int, what: str) -> None:
        self.lines.append(f"{actor} {what}")

    def places(self, end: int, *, out: bool = False) -> list[tuple[int, int]]:
        """(actor, slot) of that end."""
        return [
            (actor, slot)
            for actor, process in sorted(self.process.items())
            for slot in sorted(self.slots[process])
            if slot in self.group(end, out)
        ]

    def someone(self, end: int, *, out: bool = False) -> tuple[int, int] | None:
        there = self.places(end, out=out)
        return self.chance.choice(there) if there else None

    def is_over(self, end: int) -> bool:
        """Whether a read at that end comes back whatever happens."""
        other = self.ends[1 - end]
        return other.gone or other.shut_out or self.ends[end].shut_in

    def fits(self, end: int, n: int) -> bool:
        one = self.ends[end]
        broken = one.shut_out or self.ends[1 - end].gone
        calls = one.sends + self.room_of(n)
        return broken or (one.under_way + n <= SAFE and calls <= self.safe_sends)

    def put(self, end: int, n: int) -> None:
        one = self.ends[end]
        if not (one.shut_out or self.ends[1 - end].gone or self.ends[1 - end].shut_in):
            one.under_way += n
            one.sends += self.room_of(n)

    def get(self, end: int, n: int) -> None:
        other = self.ends[1 - end]
        other.under_way -= min(n, other.under_way)
        if not other.under_way:
            other.sends = 0

    # ---- steps

    def warm(self) -> None:
        """Enough traffic for a ring, or nearly."""
        for _ in range(self.warmth + self.chance.choice((0, 2, 3, 4, 5, 6, 6, 6, 6, 8))):
            for end in (0, 1):
                n = self.chance.choice((1, 5, 100))
                (one, out), (two, back) = self.places(end, out=True)[0], self.places(1 - end)[0]
                self.add(one, f"send {out} {n} {self.chance.choice(self.sends)} -")
                self.add(two, f"recv {back} {n} {self.chance.choice(self.receives)} -")

    def send(self) -> None:
        end = self.chance.randrange(2)
        n = self.chance.choice(SIZES)
        if (who := self.someone(end, out=True)) and self.fits(end, n):
            how = self.chance.choice(self.sends)
            flags = self.chance.choice(("-", "-", "N", "D", "DN")) if how in "sm" else "-"
            self.add(who[0], f"send {who[1]} {n} {how} {flags}")
            self.put(end, n)

    def receive(self) -> None:
        end = self.chance.randrange(2)
        who = self.someone(end)
        if not who:
            return
        how = self.chance.choice(self.receives)
        there = self.ends[1 - end].under_way
        n = self.chance.choice((*SIZES, max(there, 1), there + 1))
        flags = "-"
        if how in "sm":
            flags = self.chance.choice(("-", "-", "D", "P", "PD", "W", "D"))
        waits = not (self.ends[end].nonblocking or self.ends[end].timeout or "D" in flags)
        if waits and not self.is_over(end) and (not there or ("W" in flags and n > there)):
            return
        self.add(who[0], f"recv {who[1]} {n} {how} {flags}")
        if "P" not in flags:
            self.get(end, n)

    def large(self) -> None:
        """More than fits: one of the two waits for the other."""
        end = self.chance.randrange(2)
        sender, receiver = self.someone(end, out=True), self.someone(1 - end)
        one = self.ends[end]
        if not sender or not receiver or sender[0] == receiver[0] or one.shut_out or one.gone:
            return
        if self.ends[1 - end].shut_in:
            return
        n = self.chance.choice(LARGE)
        out = f"sendall {sender[1]} {n} {self.chance.choice(self.sends)} -"
        back = f"recvall {receiver[1]} {n + one.under_way} {self.chance.choice(self.receives)} -"
        if self.chance.randrange(2):
            self.add(sender[0], f"&{out}")
            self.add(receiver[0], back)
        else:
            self.add(receiver[0], f"&{back}")
            self.add(sender[0], out)
        for actor, slot in (sender, receiver):  # until both have come to their end
            self.add(actor, f"error {slot}")
        self.get(1 - end, one.under_way)

    def waits(self) -> None:
        """One waits, and the other one sends, or leaves."""
        end = self.chance.randrange(2)
        sender, receiver = self.someone(end, out=True), self.someone(1 - end)
        one, other = self.ends[end], self.ends[1 - end]
        if not sender or not receiver or sender[0] == receiver[0] or one.under_way:
            return
        if other.nonblocking or other.timeout or one.shut_out or other.shut_in:
            return
        how = self.chance.choice(self.receives)
        self.add(receiver[0], f"&recv {receiver[1]} {self.chance.choice((100, 20000))} {how} -")
        match self.chance.randrange(3):
            case 0:
                self.add(sender[0], f"shutdown {sender[1]} 1")
                one.shut_out = True
            case _:
                self.add(sender[0], f"send {sender[1]} {self.chance.choice((1, 99))} w -")
        self.add(receiver[0], f"error {receiver[1]}")

    def full(self) -> None:
        """As much as fits, and not a byte more; then all of it is read."""
        end = self.chance.randrange(2)
        sender, receiver = self.someone(end, out=True), self.someone(1 - end)
        if not sender or not receiver or self.ends[end].shut_out or self.ends[1 - end].shut_in:
            return
        self.add(sender[0], f"fill {sender[1]} {self.chance.choice((512, 4096, 20000, 70000))}")
        self.add(receiver[0], f"drain {receiver[1]} {self.chance.choice((1000, 4096, 66000))} r")
        self.get(1 - end, self.ends[end].under_way)

    def ask(self) -> None:
        if who := self.someone(self.chance.randrange(2)):
            self.add(who[0], f"{self.chance.choice(('avail', 'avail', 'error'))} {who[1]}")

    def mode(self) -> None:
        end = self.chance.randrange(2)
        if not (who := self.someone(end)):
            return
        match self.chance.randrange(3):
            case 0:
                self.ends[end].timeout = not self.ends[end].timeout
                self.add(who[0], f"rcvtimeo {who[1]} {20 if self.ends[end].timeout else 0}")
            case _:
                self.ends[end].nonblocking = not self.ends[end].nonblocking
                name = self.chance.choice(("nonblock", "fionbio"))
                self.add(who[0], f"{name} {who[1]} {int(self.ends[end].nonblocking)}")

    def copy(self) -> None:
        self.copies(self.chance.randrange(2))

    def copies(self, end: int, out: bool = False) -> None:
        if who := self.someone(end, out=out):
            base = who[1] // 5 * 5
            slots = self.slots[self.process[who[0]]]
            to = base + self.chance.randrange(5)
            if to in slots and self.chance.randrange(2):
                self.add(who[0], f"dup {who[1]} {to}")
            elif free := [s for s in range(base, base + 5) if s not in slots]:
                self.add(who[0], f"{self.chance.choice(('dup', 'dupfd'))} {who[1]} {free[0]}")
                slots.add(free[0])

    def close(self) -> None:
        """A descriptor that is not the last one of its end."""
        end = self.chance.randrange(2)
        there = {(self.process[a], s) for a, s in self.places(end)}
        if len(there) > 1 and (who := self.someone(end)):
            self.add(who[0], f"close {who[1]}")
            self.slots[self.process[who[0]]].discard(who[1])

    def hang_up(self) -> None:
        """The last one; or that half of the connection."""
        end = self.chance.randrange(2)
        if not (who := self.someone(end)):
            return
        match self.chance.randrange(6):
            case 0:
                self.add(who[0], f"shutdown {who[1]} 0")
                self.ends[end].shut_in = True
            case 1 | 2:
                self.add(who[0], f"shutdown {who[1]} 1")
                self.ends[end].shut_out = True
            case 3:
                self.add(who[0], f"shutdown {who[1]} 2")
                self.ends[end].shut_in = self.ends[end].shut_out = True
            case _:
                if self.kind.startswith("tcp") and self.chance.randrange(3) == 0:
                    self.add(who[0], f"linger {who[1]}")
                for actor, slot in self.places(end):
                    slots = self.slots[self.process[actor]]
                    if slot in slots:
                        self.add(actor, f"close {slot}")
                        slots.discard(slot)
                self.ends[end].gone = True

    def multiply(self) -> None:
        if self.next_actor >= 6:
            return
        actor = self.chance.choice(sorted(self.process))
        new = self.next_actor
        process = self.process[actor]
        if self.chance.randrange(3):
            self.add(actor, f"fork {new}")
            self.process[new] = new
            self.slots[new] = set(self.slots[process])
        else:
            self.add(actor, f"thread {new}")
            self.process[new] = process
        self.next_actor += 1

    def again(self) -> None:
        """An exec, which leaves only the thread that makes it."""
        alone = [
            a for a, p in sorted(self.process.items()) if list(self.process.values()).count(p) == 1
        ]
        if alone:
            self.add(self.chance.choice(alone), "exec")

    def hand_over(self) -> None:
        """To another process, in a message."""
        self.hands_over(self.chance.randrange(2))

    def hands_over(self, end: int, out: bool = False) -> None:
        if not (who := self.someone(end, out=out)):
            return
        base = who[1] // 5 * 5
        others = [a for a, p in sorted(self.process.items()) if p != self.process[who[0]]]
        for to in others[:1]:
            self.add(who[0], f"give {who[1]} {to}")
            self.add(to, f"take {base + 4}")
            self.slots[self.process[to]].add(base + 4)

    def by_file(self) -> None:
        end = self.chance.randrange(2)
        n = self.chance.choice((1, 100, 5000, 30000))
        if (who := self.someone(end, out=True)) and self.fits(end, n):
            name = "sendfile" if n > 5000 else self.chance.choice(("sendfile", "splice"))
            self.add(who[0], f"{name} {who[1]} {n}")
            self.put(end, n)

    def shoot(self) -> None:
        """kill -9 of a process that is not the only one, by another one."""
        actor = self.chance.choice(sorted(self.process))
        process = self.process[actor]
        others = [a for a, p in sorted(self.process.items()) if p != process]
        if self.is_one or not others:
            return
        self.add(self.chance.choice(others), f"kill {process}")
        for a in [a for a, p in self.process.items() if p == process]:
            del self.process[a]
        del self.slots[process]
        self.miss()

    def miss(self) -> None:
        """Whatever end was held by one who is gone."""
        for end in (0, 1):
            if not self.places(end) and not self.ends[end].gone:
                self.ends[end].gone = True
                if who := self.someone(1 - end):
                    self.add(who[0], f"settle {who[1]}")

    # ---- all of it

    def choices(self) -> tuple[Steps, Steps, Steps]:
        """What there is to do, often, now and then, and rarely."""
        common = [self.send] * 8 + [self.receive] * 8 + [self.large] * 2 + [self.waits] * 2
        some = [self.full, self.ask, self.ask, self.mode, self.copy, self.close]
        rare = [self.multiply, self.again, self.hand_over, self.by_file, self.hang_up, self.shoot]
        return common, some, rare

    def write(self, length: int) -> str:
        """`length` steps, or some more or less."""
        self.warm()
        for actor in sorted(self.process):
            self.add(actor, "rings")
        common, some, rare = self.choices()
        while len(self.lines) < length:
            pick = self.chance.choice((common, common, common, some, some, rare))
            self.chance.choice(pick)()
            if not any(self.slots.values()):
                break
        for process in sorted(self.slots):
            actors = [a for a, p in sorted(self.process.items()) if p == process]
            for actor in sorted(actors, key=lambda a: a == process):
                self.add(actor, f"exit {MAIN if actor == process else THREAD}")
        return "\n".join(self.lines) + "\n"
