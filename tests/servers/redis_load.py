# SPDX-License-Identifier: Apache-2.0
"""Clients of redis that know what they should find:

    redis_load.py fill|check PORT|PATH SEED    values of many clients, each with keys of its own
    redis_load.py talk PORT|PATH SEED          publishers and subscribers, and transactions on one key

What is written follows from the seed, so that another run can look for it. Prints what is wrong, and a line at the end.
"""

import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

CLIENTS = 16
STEPS = 20
SIZES = (1, 10, 100, 1000, 4096, 16384, 65536, 70000)
LARGE = (500_000, 1_500_000, 4_000_000)
SUBSCRIBERS, PUBLISHERS, MESSAGES = 4, 2, 400
ADDERS, ADDS = 6, 60


class Redis:
    """A connection, which blocks. Commands are lists of bytes."""

    def __init__(self, address: str) -> None:
        if address.isdigit():
            self.socket = socket.create_connection(("127.0.0.1", int(address)))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        self.socket.settimeout(20)
        self.stream = self.socket.makefile("rb")

    def send(self, *commands: list[bytes]) -> None:
        text = []
        for words in commands:
            text.append(b"*%d\r\n" % len(words))
            text += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(text))

    def answer(self) -> Any:
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind in (b"+", b"-"):
            return rest
        raise AssertionError(f"an answer begins with {line!r}")

    def ask(self, *commands: list[bytes]) -> list[Any]:
        """All at once."""
        self.send(*commands)
        return [self.answer() for _ in commands]


wrong: list[str] = []


def expect(what: object, found: object, wanted: object) -> None:
    if found != wanted:
        wrong.append(f"{what}: {found!r:.200}, not {wanted!r:.200}")


# ---- values --------------------------------------------------------------------------------------

Held = dict[bytes, Any]
Step = tuple[list[list[bytes]], list[Any]]  # commands that go together, and their answers


def steps(chance: random.Random, held: Held, name: bytes) -> Iterator[Step]:
    """What a client does; `held` is kept up with it."""

    def key(kind: bytes) -> bytes:
        return b"%s:%s:%d" % (kind, name, chance.randrange(40))

    def value() -> bytes:
        size = chance.choice(LARGE) if chance.random() < 0.01 else chance.choice(SIZES)
        return chance.randbytes(chance.randrange(size + 1))

    def stores(count: int) -> Step:
        commands, answers = [], []
        for _ in range(count):
            at, what = key(b"s"), value()
            commands.append([b"SET", at, what])
            answers.append(b"OK")
            held[at] = what
            if chance.random() < 0.5:
                commands.append([b"GET", at])
                answers.append(what)
        return commands, answers

    for _ in range(STEPS):
        match chance.randrange(5):
            case 0:
                yield stores(1)
            case 1:
                yield stores(chance.randrange(2, 30))
            case 2:
                commands, answers = stores(3)
                queued = [b"OK", *[b"QUEUED"] * len(commands), answers]
                yield [[b"MULTI"], *commands, [b"EXEC"]], queued
            case 3:
                at, more = key(b"l"), [value()[:3000] for _ in range(chance.randrange(1, 20))]
                held[at] = held.get(at, []) + more
                yield [[b"RPUSH", at, *more]], [len(held[at])]
            case _:
                at, what = key(b"s"), value()
                held[at] = held.get(at, b"") + what
                yield [[b"APPEND", at, what]], [len(held[at])]


def one_client(address: str, seed: int, number: int, *, is_new: bool) -> None:
    redis, held = Redis(address), Held()
    for i, (commands, answers) in enumerate(
        steps(random.Random(seed * 1000 + number), held, b"%d-%d" % (seed, number))
    ):
        if is_new:
            expect(f"client {number}, step {i}", redis.ask(*commands), answers)
    asks = [[b"GET", k] if k[:1] == b"s" else [b"LRANGE", k, b"0", b"-1"] for k in sorted(held)]
    for ask, found in zip(asks, redis.ask(*asks), strict=True):
        expect(ask[1], found, held[ask[1]])
    texts = [k for k in sorted(held) if k[:1] == b"s"]
    expect("MGET", redis.ask([b"MGET", *texts]), [[held[k] for k in texts]])


# ---- messages ------------------------------------------------------------------------------------


def message(seed: int, publisher: int, i: int) -> bytes:
    chance = random.Random(seed * 1_000_000 + publisher * 10_000 + i)
    return b"%d %d " % (publisher, i) + chance.randbytes(chance.choice((1, 50, 2000, 20000)))


def publishes(address: str, seed: int, publisher: int) -> None:
    redis = Redis(address)
    for i in range(0, MESSAGES, 4):
        texts = [message(seed, publisher, j) for j in range(i, i + 4)]
        expect("PUBLISH", redis.ask(*[[b"PUBLISH", b"news", t] for t in texts]), [SUBSCRIBERS] * 4)


def hears(redis: Redis, seed: int, _number: int) -> None:
    """All messages, those of one publisher in their order."""
    following = [0] * PUBLISHERS
    while min(following) < MESSAGES:
        found = redis.answer()
        publisher = int(found[2].split(b" ", 1)[0])
        expect(
            "a message",
            found,
            [b"message", b"news", message(seed, publisher, following[publisher])],
        )
        following[publisher] += 1
        if wrong:
            return


def adds(address: str, _seed: int, _number: int) -> None:
    """Takes the sum, adds one, and begins anew if somebody else was faster."""
    redis = Redis(address)
    done = 0
    while done < ADDS:
        _, now = redis.ask([b"WATCH", b"sum"], [b"GET", b"sum"])
        new = b"%d" % (int(now or 0) + 1)
        done += redis.ask([b"MULTI"], [b"SET", b"sum", new], [b"EXEC"])[2] is not None


# ---- all of them ---------------------------------------------------------------------------------


def together(*jobs: tuple[Callable[..., None], Any]) -> None:
    def work(job: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            job(*arguments)
        except Exception as error:
            wrong.append(f"{job.__name__}{arguments}: {error!r}")

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(what: str, address: str, seed: int) -> None:
    if what == "talk":
        listeners = [Redis(address) for _ in range(SUBSCRIBERS)]
        for redis in listeners:
            expect("SUBSCRIBE", redis.ask([b"SUBSCRIBE", b"news"]), [[b"subscribe", b"news", 1]])
        together(
            *[(hears, (redis, seed, i)) for i, redis in enumerate(listeners)],
            *[(publishes, (address, seed, i)) for i in range(PUBLISHERS)],
            *[(adds, (address, seed, i)) for i in range(ADDERS)],
        )
        expect("the sum", Redis(address).ask([b"GET", b"sum"]), [b"%d" % (ADDERS * ADDS)])
    else:

        def client(number: int) -> None:
            one_client(address, seed, number, is_new=what == "fill")

        together(*[(client, (number,)) for number in range(CLIENTS)])
    print(*wrong[:10], f"{what} {seed}: {'WRONG' if wrong else 'right'}", sep="\n")
    sys.exit(bool(wrong))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
