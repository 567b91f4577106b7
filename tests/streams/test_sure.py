# SPDX-License-Identifier: Apache-2.0
"""`--streams=auto`, the default: TCP between programs of one run, and nothing of which a program could tell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from differential import command, environment, program, run_in

TALKS = """
import os, socket, sys

def talk(end, first):
    for _ in range(20):
        if first:
            end.sendall(b"x" * 10)
        assert len(end.recv(100)) == 10
        if not first:
            end.sendall(b"y" * 10)

def rings():
    with open("/proc/self/maps") as maps:
        return sum("/lsca-stream-" in line for line in maps)

def both(one, other):
    if not os.fork():
        one.close()
        talk(other, True)
        other.recv(1)
        os._exit(0)
    other.close()
    talk(one, False)
    print(rings(), flush=True)
    one.close()
    os.wait()

if sys.argv[1] == "tcp":
    listening = socket.create_server(("127.0.0.1", 0))
    other = socket.create_connection(listening.getsockname())
    both(listening.accept()[0], other)
elif sys.argv[1] == "unix":
    both(*socket.socketpair())
elif sys.argv[1] == "drops":
    listening = socket.create_server(("127.0.0.1", 0))
    other = socket.create_connection(listening.getsockname())
    one = listening.accept()[0]
    asked, told = os.pipe()
    if not os.fork():
        one.close()
        talk(other, True)
        other.sendall(b"z" * 1000)
        os.write(told, b"!")
        other.recv(1)
        os._exit(0)
    other.close()
    talk(one, False)
    os.read(asked, 1)
    print(rings(), flush=True)
    os.setgid(65534)
    os.setuid(65534)
    os.dup2(one.fileno(), 0)
    os.execv("/usr/bin/head", ["head", "-c", "1000"])
elif sys.argv[1] == "serve":
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    one = listening.accept()[0]
    talk(one, False)
    print(rings(), flush=True)
else:
    other = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    talk(other, True)
    other.recv(1)
"""


def talks(*words: str) -> list[str]:
    return [sys.executable, "-c", TALKS, *words]


@pytest.mark.parametrize(
    ("kind", "options", "rings"),
    [
        ("tcp", (), 1),
        ("tcp", ("--streams=auto",), 1),
        ("tcp", ("--streams=off",), 0),
        ("unix", (), 0),
        ("unix", ("--streams=on",), 1),
    ],
)
def test_what_is_sure(kind: str, options: tuple[str, ...], rings: int, tmp_path: Path) -> None:
    done = run_in(tmp_path, command("kernel", talks(kind), *options), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"%d\n" % rings, b"")


@pytest.mark.parametrize(("option", "rings"), [("--streams=auto", 0), ("--streams=on", 1)])
def test_only_the_same_run_is_trusted(option: str, rings: int, tmp_path: Path) -> None:
    server = subprocess.Popen(
        command("kernel", talks("serve"), option),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server, server.stdout as said:
        port = said.readline().strip()
        run_in(tmp_path, command("kernel", talks(port), option), timeout=60)
        assert said.readline() == f"{rings}\n"
    assert server.returncode == 0


@pytest.mark.parametrize(("queue", "rings"), [("noqueue", 1), ("pfifo limit 100", 0)])
def test_a_loopback_that_is_shaped_is_used(queue: str, rings: int, tmp_path: Path) -> None:
    """Somebody who has it delay or lose packets wants them to."""
    if not shutil.which("tc"):
        pytest.skip("tc is not installed")
    shape = f"ip link set lo up && tc qdisc replace dev lo root {queue}"
    alone = ["unshare", "-rn", "sh", "-c"]
    if subprocess.run([*alone, shape], capture_output=True).returncode:
        pytest.skip("no network of our own can be had")
    argv = [*alone, f'{shape} && "$@"', "-", *command("kernel", talks("tcp"))]
    done = run_in(tmp_path, argv, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"%d\n" % rings, b"")


def test_a_killed_launcher_leaves_no_file_of_meetings(tmp_path: Path) -> None:
    alone = ["unshare", "-rm", "sh", "-c"]
    apart = "mount -t tmpfs none /dev/shm"
    if subprocess.run([*alone, apart], capture_output=True).returncode:
        pytest.skip("no mounts of our own can be had")
    killing = ["sh", "-c", "ls /dev/shm; exec kill -9 $PPID"]
    argv = [*alone, f'{apart} && {{ "$@"; ls /dev/shm; }}', "-", *command("kernel", killing)]
    done = run_in(tmp_path, argv, timeout=60)
    assert done.stdout == f"lsca-meetings-4-{os.getuid()}\n".encode()
    assert b"the launcher was killed" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_who_drops_his_privileges_keeps_what_has_come(tmp_path: Path) -> None:
    done = run_in(tmp_path, command("kernel", talks("drops")), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n" + b"z" * 1000, b"")


@pytest.mark.parametrize("how", ["setuid", "setns"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_borrower_has_numbers_of_its_own(kind: str, how: str, tmp_path: Path) -> None:
    argv = [program("streams/borrower.c", flags=("-Wno-clobbered",)), kind, how]
    done = run_in(tmp_path, command("kernel", argv, "--streams=on"), timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == run_in(tmp_path, argv).stdout == b"child 0\n100\nelsewhere -1\n"
