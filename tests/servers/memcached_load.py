# SPDX-License-Identifier: Apache-2.0
"""Clients of memcached, in its text protocol, that know what they should find:

    memcached_load.py PORT|PATH SEED

Each of many connections has keys of its own, and all add to one number. Prints what is wrong, and a line at the end.
"""

import random
import selectors
import socket
import sys

CONNECTIONS = 60
STEPS = 25
KEYS = 12
SIZES = (0, 1, 100, 1400, 16_000, 66_000)
LARGE = (300_000, 1_000_000)
PATIENCE = 20.0


class Client:
    """A connection that is asked by a loop over all: what is to be sent yet, and what should come."""

    def __init__(self, address: str, seed: int, number: int) -> None:
        if address.isdigit():
            self.socket = socket.create_connection(("127.0.0.1", int(address)))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        self.socket.setblocking(False)
        self.chance = random.Random(seed * 1000 + number)
        self.seed, self.number = seed, number
        self.held: dict[bytes, tuple[int, bytes]] = {}
        self.steps = 0
        self.out = self.expected = self.come = b""

    def store(self) -> tuple[bytes, bytes]:
        """A command and its answer."""
        key = b"k:%d:%d:%d" % (self.seed, self.number, self.chance.randrange(KEYS))
        size = self.chance.choice(LARGE if self.chance.random() < 0.02 else SIZES)
        value = self.chance.randbytes(size)
        flags = self.chance.randrange(65536)
        what, answer = b"set", b"STORED\r\n"
        match self.chance.randrange(4):
            case 0 if key in self.held and len(self.held[key][1]) + size < 900_000:
                what, (flags, old) = b"append", self.held[key]
                self.held[key] = flags, old + value
            case 1:
                what = b"add"
                if key in self.held:
                    answer = b"NOT_STORED\r\n"
                else:
                    self.held[key] = flags, value
            case _:
                self.held[key] = flags, value
        quiet = b" noreply" if self.chance.random() < 0.2 else b""
        command = b"%s %s %d 0 %d%s\r\n%s\r\n" % (what, key, flags, size, quiet, value)
        return command, b"" if quiet else answer

    def get(self) -> tuple[bytes, bytes]:
        keys = self.chance.sample(range(KEYS), self.chance.randrange(1, KEYS))
        names = [b"k:%d:%d:%d" % (self.seed, self.number, k) for k in keys]
        values = [
            b"VALUE %s %d %d\r\n%s\r\n"
            % (n, self.held[n][0], len(self.held[n][1]), self.held[n][1])
            for n in names
            if n in self.held
        ]
        return b"get %s\r\n" % b" ".join(names), b"".join(values) + b"END\r\n"

    def delete(self) -> tuple[bytes, bytes]:
        key = b"k:%d:%d:%d" % (self.seed, self.number, self.chance.randrange(KEYS))
        answer = b"DELETED\r\n" if self.held.pop(key, None) else b"NOT_FOUND\r\n"
        return b"delete %s\r\n" % key, answer

    def next(self) -> bool:
        """The next commands, some of them at once. False: that was all."""
        if self.steps == STEPS:
            return False
        self.steps += 1
        self.expected = self.come = b""
        for _ in range(self.chance.choice((1, 1, 2, 10))):
            command, answer = self.chance.choice(
                (self.store, self.store, self.get, self.get, self.delete)
            )()
            self.out += command
            self.expected += answer
        self.out += b"incr sum:%d 1 noreply\r\nversion\r\n" % self.seed
        return True

    def is_done(self) -> bool:
        """Whether all has come. AssertionError if it is something else."""
        assert self.come.startswith(self.expected[: len(self.come)]), (
            f"client {self.number}, step {self.steps}"
        )
        rest = self.come[len(self.expected) :]
        return rest.startswith(b"VERSION ") and rest.endswith(b"\r\n")


def main(address: str, seed: int) -> None:
    with selectors.DefaultSelector() as selector:
        clients = [Client(address, seed, number) for number in range(CONNECTIONS)]
        first = clients[0].socket
        first.setblocking(True)
        first.sendall(b"set sum:%d 0 0 1\r\n0\r\n" % seed)
        assert first.recv(100) == b"STORED\r\n"
        first.setblocking(False)
        for client in clients:
            client.next()
            selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        while selector.get_map():
            ready = selector.select(PATIENCE)
            assert ready, "nothing comes any more"
            for key, events in ready:
                client = key.data
                if events & selectors.EVENT_WRITE:
                    client.out = client.out[client.socket.send(client.out) :]
                if events & selectors.EVENT_READ:
                    piece = client.socket.recv(200_000)
                    assert piece, f"client {client.number} has lost its connection"
                    client.come += piece
                wants = selectors.EVENT_READ
                if not client.out and client.is_done() and not client.next():
                    selector.unregister(client.socket)
                    continue
                if client.out:
                    wants |= selectors.EVENT_WRITE
                selector.modify(client.socket, wants, client)
        first.setblocking(True)
        first.sendall(b"get sum:%d\r\n" % seed)
        total = first.recv(100).split(b"\r\n")[1]
        assert int(total) == CONNECTIONS * STEPS, total
    print(f"{seed}: right")


main(sys.argv[1], int(sys.argv[2]))
