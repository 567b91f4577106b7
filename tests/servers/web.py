# SPDX-License-Identifier: Apache-2.0
"""HTTP in Python's ways of serving, and a client for all of them:

    web.py asyncio|threads|forks PORT    serves, until a signal ends it
    web.py ask PORT SEED                 random bodies by many connections; each is to come back turned round

Over a connection several requests go, in their time or all at once. The client prints what is wrong, and a line.
"""

import asyncio
import http.server
import random
import signal
import socketserver
import sys

CONNECTIONS = 24
REQUESTS = 12
SIZES = (0, 1, 500, 8000, 65_536, 70_001)
LARGE = 3_000_000
PATIENCE = 20.0


def turned(body: bytes) -> bytes:
    return body[::-1]


# ---- servers -------------------------------------------------------------------------------------


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readline():
        assert head == b"POST / HTTP/1.1\r\n", head
        size = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        body = turned(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for at in range(0, size, 50_000):
            writer.write(body[at : at + 50_000])
            await writer.drain()
    writer.close()


async def serve(port: int) -> None:
    server = await asyncio.start_server(talk, "127.0.0.1", port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Of http.server, which reads by buffers and writes head and body by themselves."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = turned(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Forks(socketserver.ForkingMixIn, http.server.HTTPServer):
    """A process for each connection."""

    request_queue_size = 100
    max_children = 100


class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A thread for each connection."""

    request_queue_size = 100
    daemon_threads = True


def serve_http(kind: type[http.server.HTTPServer], port: int) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with kind(("127.0.0.1", port), Handler) as server:
        try:
            server.serve_forever(0.05)
        except KeyboardInterrupt:
            pass


# ---- the client ----------------------------------------------------------------------------------


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert b" 200 " in head.split(b"\r\n")[0], head
    size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    return await reader.readexactly(size)


async def connection(port: int, chance: random.Random) -> int:
    """How many bodies came back as they should."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bodies = [chance.randbytes(chance.choice(SIZES)) for _ in range(REQUESTS)]
    if chance.random() < 0.2:
        bodies.append(chance.randbytes(LARGE))
    at_once = chance.random() < 0.3

    async def ask() -> None:
        for body in bodies:
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            if not at_once:
                break

    asking = asyncio.create_task(ask())
    right = 0
    while bodies:
        right += await answer(reader) == turned(bodies[0])
        if at_once:
            bodies = bodies[1:]
            continue
        del bodies[0]
        await asking
        asking = asyncio.create_task(ask())
    await asking
    writer.close()
    return right


async def ask_all(port: int, seed: int) -> int:
    async with asyncio.timeout(PATIENCE):
        connections = (connection(port, random.Random(seed * 1000 + i)) for i in range(CONNECTIONS))
        return sum(await asyncio.gather(*connections))


def main(what: str, port: int, seed: int = 0) -> None:
    match what:
        case "asyncio":
            asyncio.run(serve(port))
        case "threads" | "forks":
            serve_http(Forks if what == "forks" else Threads, port)
        case _:
            print(asyncio.run(ask_all(port, seed)), "came back right")


main(sys.argv[1], *map(int, sys.argv[2:]))
