# SPDX-License-Identifier: Apache-2.0
"""The echo pairs of the demo: our own in plain C, and one that was not written for it.

A pair is two functions that give command lines. None of the programs knows of LSCA. Used by demo.py.
"""

import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRANSPORTS = ("tcp", "udp", "unix")


@dataclass(frozen=True)
class Pair:
    """`announces`: the server prints where it listens, so port 0 will do. `keeps`: the client writes a line `done`
    and stays connected until its standard input ends."""

    name: str
    title: str
    server: Callable[[str, str], list[str]]  # transport, address
    client: Callable[[str, str, int], list[str]]  # transport, address, clients
    most: int  # clients that it is reasonable to run at once
    most_udp: int = 50  # less where datagrams that come together get lost, natively too
    announces: bool = False
    keeps: bool = False


def own(build: Path, messages: int, times: Path) -> Pair:
    def server(transport: str, address: str) -> list[str]:
        return [str(build / "echo_server"), transport, address]

    def client(transport: str, address: str, clients: int) -> list[str]:
        each = max(2, messages // clients)
        options = ["-k", "-c", str(clients), "-m", str(each), "-t", str(times)]
        return [str(build / "echo_client"), *options, transport, address]

    title = "echo_server and echo_client, plain C"
    return Pair("own", title, server, client, 50, announces=True, keeps=True)


def python() -> Pair:
    program = shutil.which("python3") or sys.executable

    def server(transport: str, address: str) -> list[str]:
        return [program, str(HERE / "server.py"), transport, address]

    def client(transport: str, address: str, clients: int) -> list[str]:
        return [program, str(HERE / "client.py"), transport, address, str(clients)]

    return Pair("python", "Python's socketserver and asyncio", server, client, 50)


def socat(work: Path) -> Pair:
    """A forking server (over TCP it starts a `cat` for each client) and a shell that starts the clients."""
    data = work / "socat.in"
    text = "".join(f"line {n} {'x' * 50}\n" for n in range(20))
    data.write_text(text)  # 1.2 KB: it has to fit into one datagram

    def server(transport: str, address: str) -> list[str]:
        host, _, port = address.rpartition(":")
        inet = f"{port},bind={host},reuseaddr,fork"
        ends = {
            "tcp": (f"TCP-LISTEN:{inet}", "EXEC:cat"),
            "udp": (f"UDP-RECVFROM:{inet}", "PIPE"),
            "unix": (f"UNIX-LISTEN:{address},fork", "PIPE"),
        }
        return ["socat", *ends[transport]]

    def client(transport: str, address: str, clients: int) -> list[str]:
        # A datagram socket has no end of file: socat waits as long as -t says.
        patience = "1" if transport == "udp" else "5"
        kind = {"tcp": "TCP", "udp": "UDP", "unix": "UNIX-CONNECT"}[transport]
        one = shlex.join(["socat", "-t", patience, "-", f"{kind}:{address}"])
        back = shlex.quote(str(work / "socat.out"))
        script = (
            f"for i in $(seq {clients}); do {one} <{shlex.quote(str(data))} >{back}.$i & done; wait; "
            f"for i in $(seq {clients}); do cat {back}.$i; rm {back}.$i; done"
        )
        return ["sh", "-c", script]

    title = "socat, one process for each client and connection"
    return Pair("socat", title, server, client, most=10, most_udp=1)


def free_address(transport: str, work: Path) -> str:
    """Where a server that cannot choose by itself may listen."""
    if transport == "unix":
        return str(work / "socket")
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
