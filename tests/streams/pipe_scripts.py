# SPDX-License-Identifier: Apache-2.0
"""Scripts for ends.c as those of scripts.py, for a pair of pipes in place of a socket: one each way.

An end has descriptors of two kinds, to receive by (slots 0 to 4, or 5 to 9) and to send by (20 more), and each is
copied, given away and closed by itself.
"""

from scripts import Script, Steps

PIPES = ("pipe", "pipe+nonblock", "pipe+one")
PAGE = 4096


class PipeScript(Script):
    """A script about two pipes."""

    sends = "wv"
    receives = "rv"
    safe_sends = 15  # pages that a pipe has
    warmth = 6  # it is worth a ring later

    def __post_init__(self) -> None:
        super().__post_init__()
        for end in self.ends:
            end.nonblocking = self.kind == "pipe+nonblock"

    def group(self, end: int, out: bool) -> range:
        first = 5 * end + 20 * out
        return range(first, first + 5)

    def room_of(self, n: int) -> int:
        return -(-n // PAGE) + 1

    def some_group(self) -> tuple[int, bool]:
        return self.chance.randrange(2), self.chance.random() < 0.5

    def miss(self) -> None:
        """What nobody holds any more."""
        for end, one in enumerate(self.ends):
            if not self.places(end, out=True) and not one.shut_out:
                one.shut_out = True
                if who := self.someone(1 - end):
                    self.add(who[0], f"settle {who[1]}")
            if not self.places(end) and not one.shut_in:
                one.shut_in = True
                self.get(end, self.ends[1 - end].under_way)  # it is lost
                if who := self.someone(1 - end, out=True):
                    self.add(who[0], f"settle {who[1]}")

    def drop(self, end: int, out: bool) -> None:
        """All descriptors of one kind."""
        for actor, slot in self.places(end, out=out):
            slots = self.slots[self.process[actor]]
            if slot in slots:
                self.add(actor, f"close {slot}")
                slots.discard(slot)
        if out:
            self.ends[end].shut_out = True
        elif not self.ends[end].shut_in:
            self.ends[end].shut_in = True
            self.get(end, self.ends[1 - end].under_way)

    # ---- steps

    def waits(self) -> None:
        end = self.chance.randrange(2)
        sender, receiver = self.someone(end, out=True), self.someone(1 - end)
        one, other = self.ends[end], self.ends[1 - end]
        if (
            not sender
            or not receiver
            or sender[0] == receiver[0]
            or one.under_way
            or other.nonblocking
        ):
            return
        how = self.chance.choice(self.receives)
        self.add(receiver[0], f"&recv {receiver[1]} {self.chance.choice((100, 20000))} {how} -")
        if self.chance.random() < 0.1 and receiver[0] not in {
            a for a, _ in self.places(end, out=True)
        }:
            self.drop(end, True)
        else:
            self.add(sender[0], f"send {sender[1]} {self.chance.choice((1, 99))} w -")
        self.add(receiver[0], f"avail {receiver[1]}")

    def ask(self) -> None:
        end, out = self.some_group()
        if who := self.someone(end, out=out):
            what = self.chance.choice(("avail", "poll", "poll", "error"))
            if what == "avail" and out and self.ends[1 - end].shut_in:
                return  # what was lost there is not the same
            self.add(who[0], f"{what} {who[1]}")

    def misuse(self) -> None:
        """What is to be an error: the wrong end, or a call for sockets."""
        end, out = self.some_group()
        if not (who := self.someone(end, out=out)):
            return
        which = "recv" if out else "send"
        how = self.chance.choice("rv" if out else "wv")
        if self.chance.random() < 0.5:
            which, how = self.chance.choice(("recv", "send")), self.chance.choice("sm")
        self.add(who[0], f"{which} {who[1]} {self.chance.choice((1, 100))} {how} -")

    def mode(self) -> None:
        end, out = self.some_group()
        if not (who := self.someone(end, out=out)):
            return
        on = self.chance.random() < 0.5
        if not out:
            on = self.ends[end].nonblocking = not self.ends[end].nonblocking
        self.add(who[0], f"{self.chance.choice(('nonblock', 'fionbio'))} {who[1]} {int(on)}")

    def close(self) -> None:
        """A descriptor that is not the last one of its kind."""
        end, out = self.some_group()
        there = {(self.process[a], s) for a, s in self.places(end, out=out)}
        if len(there) > 1 and (who := self.someone(end, out=out)):
            self.add(who[0], f"close {who[1]}")
            self.slots[self.process[who[0]]].discard(who[1])

    def hang_up(self) -> None:
        self.drop(*self.some_group())

    def copy(self) -> None:
        self.copies(*self.some_group())

    def hand_over(self) -> None:
        self.hands_over(*self.some_group())

    def by_file(self) -> None:
        """By calls that move pages."""
        end = self.chance.randrange(2)
        n = self.chance.choice((1, 100, 5000, 30000))
        if self.chance.random() < 0.5:
            if (who := self.someone(end, out=True)) and self.fits(end, n):
                name = self.chance.choice(("sendfile", "splice", "vmsplice"))
                self.add(who[0], f"{name} {who[1]} {n}")
                self.put(end, n)
        elif who := self.someone(end):
            if (sender := self.someone(1 - end, out=True)) and self.fits(1 - end, n):
                self.add(sender[0], f"send {sender[1]} {n} w -")
                self.put(1 - end, n)
            name = self.chance.choice(("unsplice", "tee"))
            n = self.chance.choice((n, n, n + 1, 50))
            self.add(who[0], f"{name} {who[1]} {n}")
            if name == "unsplice":
                self.get(end, n)

    def packets(self) -> None:
        """O_DIRECT: what was written by a call is read by a call."""
        end = self.chance.randrange(2)
        sender, receiver = self.someone(end, out=True), self.someone(1 - end)
        if not sender or not receiver or self.ends[end].under_way:
            return
        sizes = [self.chance.choice((1, 10, 4000)) for _ in range(4)]
        self.add(sender[0], f"direct {sender[1]} 1")
        for n in sizes:
            self.add(sender[0], f"send {sender[1]} {n} {self.chance.choice(self.sends)} -")
        for _ in sizes:
            self.add(receiver[0], f"recv {receiver[1]} 9000 {self.chance.choice(self.receives)} -")
        self.add(sender[0], f"direct {sender[1]} 0")

    def choices(self) -> tuple[Steps, Steps, Steps]:
        common, some, rare = super().choices()
        return common, [*some, self.ask, self.misuse], [*rare, self.by_file, self.packets]
