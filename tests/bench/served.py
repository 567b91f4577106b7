# SPDX-License-Identifier: Apache-2.0
"""Servers and their clients for streams.py: redis, nginx, memcached, PostgreSQL. Both ends of a turn are started by one
shell, which is captured or not; so the connections between them may be streams. Times are those of one request, in
nanoseconds. A server that does not answer, or a client that does not end, is a RuntimeError after some seconds.
"""

import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from loads import NOBODY, Postgres, run

Aims = Mapping[int, float]
Values = dict[str, float]

# Starts $1, waits until the port $2 answers, runs the rest of its arguments, and ends the server as it wants to be.
SCRIPT = """
eval "$1" >/dev/null 2>&1 &
server=$!
for i in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && break
    kill -0 $server 2>/dev/null || exit 3
    sleep 0.05
done
shift 2
eval "$1"
status=$?
kill -INT $server
wait $server
exit $status
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


class Served:
    """`titles`: what a turn measures; `aims`: how many times as fast, by key and CPUs."""

    titles: ClassVar[Mapping[str, str]]
    aims: ClassVar[Mapping[str, Aims]] = {}
    needs: tuple[str, ...]

    def __init__(self, here: Path, programs: Path, quick: bool) -> None:
        self.here = here
        self.programs = programs
        self.quick = quick

    def missing(self) -> str:
        absent = [name for name in (*self.needs, "bash") if not shutil.which(name)]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def prepare(self) -> None:
        self.here.mkdir()

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        raise NotImplementedError

    def close(self) -> None:
        """Removes what is not in its directory."""

    def both(
        self, prefix: Sequence[str], cpus: frozenset[int], server: str, client: str, port: int
    ) -> str:
        """The client's standard output."""
        (self.here / "both.sh").write_text(SCRIPT)
        command = [*prefix, "bash", "both.sh", server, str(port), client]
        return run(command, cpus, 30, self.here)


class Redis(Served):
    """GET and SET of redis-benchmark: 50 clients, 50 with 16 requests at a time, one."""

    titles: ClassVar[Mapping[str, str]] = {
        f"redis {which}{clients}": f"redis, {which.upper()}, {title}"
        for clients, title in (
            ("", "50 clients"),
            (" 16", "50 clients, -P 16"),
            (" 1", "one client"),
        )
        for which in ("get", "set")
    }
    aims: ClassVar[Mapping[str, Aims]] = {
        f"redis {which}{clients}": aims
        for clients, aims in (("", {1: 4, 2: 4}), (" 16", {1: 1.6, 2: 1.6}), (" 1", {2: 5}))
        for which in ("get", "set")
    }
    needs = ("redis-server", "redis-benchmark")

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        port = free_port()
        n = 2000 if self.quick else 60000
        ask = f"redis-benchmark -p {port} -t set,get --csv"
        clients = (
            f"{ask} -c 50 -n {n} && echo , 16 && {ask} -c 50 -P 16 -n {n * 4}"
            f" && echo , 1 && {ask} -c 1 -n {n // 4}"
        )
        server = f"exec redis-server --port {port} --save '' --appendonly no --bind 127.0.0.1"
        out = self.both(prefix, cpus, server, clients, port)
        found, which = {}, ""
        for text in out.splitlines():
            if text.startswith(", "):
                which = text[1:]
            if rate := re.match(r'"(SET|GET)","([0-9.]+)"', text):
                found[f"redis {rate[1].lower()}{which}"] = 1e9 / float(rate[2])
        return found


class Nginx(Served):
    """A page of some hundred bytes for 32 connections of ab that are kept."""

    titles: ClassVar[Mapping[str, str]] = {"nginx": "nginx, keep-alive, ab -c 32"}
    aims: ClassVar[Mapping[str, Aims]] = {"nginx": {1: 3, 2: 3}}
    needs = ("nginx", "ab")

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        port = free_port()
        (self.here / "index.html").write_text("hello\n" * 40)
        for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.here / name).mkdir(exist_ok=True)
        paths = "".join(
            f"{name}_temp_path {self.here}/{key};\n"
            for key, name in (
                ("body", "client_body"),
                *((n, n) for n in ("proxy", "fastcgi", "uwsgi", "scgi")),
            )
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.here / "conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {self.here}/pid;\nerror_log /dev/null;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log off; keepalive_requests 10000000; {paths}"
            f"server {{ listen 127.0.0.1:{port}; root {self.here}; }} }}\n"
        )
        client = (
            f"ab -q -k -c 32 -n {1000 if self.quick else 40000} http://127.0.0.1:{port}/index.html"
        )
        out = self.both(prefix, cpus, f"exec nginx -c {self.here}/conf", client, port)
        if not re.search(r"^Failed requests: +0$", out, re.MULTILINE):
            raise RuntimeError("ab tells of failed requests")
        rate = re.search(r"^Requests per second: +([0-9.]+)", out, re.MULTILINE)
        return {"nginx": 1e9 / float(rate[1])} if rate else {}


class Memcached(Served):
    """GET of 64 bytes for 32 connections of many.c."""

    titles: ClassVar[Mapping[str, str]] = {"memcached": "memcached, GET, 32 connections"}
    aims: ClassVar[Mapping[str, Aims]] = {"memcached": {1: 3, 2: 3}}
    needs = ("memcached",)

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        port = free_port()
        user = "-u root" if os.geteuid() == 0 else ""
        server = f"exec memcached -l 127.0.0.1 -p {port} -U 0 -t 1 {user}"
        client = f"{self.programs}/many cache 32 {0.05 if self.quick else 0.5} {port}"
        out = self.both(prefix, cpus, server, client, port)
        return {"memcached": float(out.split()[1])}


class Pgbench(Served):
    """SELECTs of one client of pgbench over TCP."""

    titles: ClassVar[Mapping[str, str]] = {"pgbench": "pgbench -S, TCP, one client"}
    aims: ClassVar[Mapping[str, Aims]] = {"pgbench": {1: 1.8}}
    needs = ("pgbench",)

    def __init__(self, here: Path, programs: Path, quick: bool) -> None:
        super().__init__(here, programs, quick)
        self.postgres = Postgres(quick)

    def missing(self) -> str:
        return super().missing() or self.postgres.missing()

    def prepare(self) -> None:
        super().prepare()
        self.postgres.prepare(self.here)

    def turn(self, prefix: Sequence[str], cpus: frozenset[int]) -> Values:
        port = free_port()
        data = self.postgres.data
        assert data
        self.here = data  # an ordinary user reads it, too
        own = f"exec {self.postgres.programs}/postgres"
        server = f"{own} -D {data}/db -k {data} -F -p {port} -h 127.0.0.1"
        ask = f"pgbench -h 127.0.0.1 -p {port} -U {NOBODY} -n -S -c 1 postgres"
        # It listens before it serves.
        client = f"until {ask} -t 1 >/dev/null 2>&1; do sleep 0.1; done; {ask} -T {1 if self.quick else 2}"
        # Streams are between programs of one user, who has begun the run.
        prefix = (*self.postgres.ordinary, *prefix)
        out = self.both(prefix, cpus, server, client, port)
        rate = re.search(r"^tps = ([0-9.]+)", out, re.MULTILINE)
        return {"pgbench": 1e9 / float(rate[1])} if rate else {}

    def close(self) -> None:
        self.postgres.close()


SERVED: tuple[type[Served], ...] = (Redis, Nginx, Memcached, Pgbench)
