# SPDX-License-Identifier: Apache-2.0
"""Clients of an echo server in Python, with asyncio: client.py tcp|udp|unix ADDRESS CLIENTS.

Each client sends lines one by one, and waits for each to come back. Prints all that came back, client by client; exit
status 1 if anything was changed. It knows nothing of LSCA.
"""

import asyncio
import sys

PATIENCE = 5.0
MESSAGES = 10


def lines(client: int) -> list[bytes]:
    return [f"client {client} message {n} {'x' * 40}\n".encode() for n in range(MESSAGES)]


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.put_nowait(data)


async def stream(kind: str, where: str, client: int) -> bytes:
    if kind == "unix":
        reader, writer = await asyncio.open_unix_connection(where)
    else:
        host, _, port = where.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    back = b""
    for line in lines(client):
        writer.write(line)
        back += await asyncio.wait_for(reader.readexactly(len(line)), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return back


async def datagrams(where: str, client: int) -> bytes:
    host, _, port = where.rpartition(":")
    loop = asyncio.get_running_loop()
    remote = (host, int(port))
    transport, inbox = await loop.create_datagram_endpoint(Inbox, remote_addr=remote)
    back = b""
    for line in lines(client):
        transport.sendto(line)
        back += await asyncio.wait_for(inbox.received.get(), PATIENCE)
    transport.close()
    return back


async def main() -> int:
    kind, where, clients = sys.argv[1], sys.argv[2], int(sys.argv[3])
    all_of_them = (
        datagrams(where, number) if kind == "udp" else stream(kind, where, number)
        for number in range(clients)
    )
    back = await asyncio.gather(*all_of_them)
    sys.stdout.write(b"".join(back).decode())
    return int(any(back[number] != b"".join(lines(number)) for number in range(clients)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
