# SPDX-License-Identifier: Apache-2.0
"""Runs every example of examples/handlers, as its own docstring says, and looks whether it does what it says."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from differential import ROOT

EXAMPLES = ROOT / "examples" / "handlers"
READS = "import os; [os.close(os.open('/dev/null', os.O_RDONLY)) for _ in range(30)]"


def run(
    example: str, *argv: str, said: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsca", "run", "--no-daemon", "-s", str(EXAMPLES / example)]
    done = subprocess.run(
        [*command, "--", *argv],
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"} | environment,
        timeout=60,
    )
    assert said or "lsca:" not in done.stderr, done.stderr
    return done


def server() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def answer_one(listener: socket.socket) -> None:
    with listener.accept()[0] as client:
        client.sendall(b"here")


def hidden_file() -> None:
    done = run("hidden_file.py", "cat", "/etc/hostname", "/etc/debian_version")
    assert done.stdout == Path("/etc/debian_version").read_text()
    assert done.stderr == "cat: /etc/hostname: No such file or directory\n"
    assert run("hidden_file.py", "test", "-e", "/etc/hostname").returncode == 1


def slow_disk() -> None:
    start = time.monotonic()
    assert (
        run("slow_disk.py", "sh", "-c", "echo a > /tmp/lsca-slow; rm /tmp/lsca-slow").returncode
        == 0
    )
    assert time.monotonic() - start > 0.1


def disk_full() -> None:
    big = f"/tmp/lsca-full-{os.getpid()}"
    try:
        done = run("disk_full.py", "dd", "if=/dev/zero", f"of={big}", "bs=100000", "count=99")
        assert "No space left on device" in done.stderr
        assert os.path.getsize(big) == 1 << 20
    finally:
        os.unlink(big)


def watch_connects() -> None:
    listener, port = server()
    with listener:
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        done = run("watch_connects.py", sys.executable, "-c", program)
    assert re.search(rf"python[\d.]*\[\d+\] -> 127.0.0.1:{port}: ok\n", done.stderr)


def fake_random() -> None:
    program = "import os; print(os.getrandom(8).hex(), open('/dev/urandom', 'rb').read(4).hex())"
    first, second = (run("fake_random.py", sys.executable, "-c", program) for _ in range(2))
    assert first.stdout == second.stdout != ""


def fake_file() -> None:
    assert re.fullmatch(
        r"Hello, cat. It is \w+day.\n", run("fake_file.py", "cat", "/etc/motd").stdout
    )


def redirect() -> None:
    listener, port = server()
    with listener:
        answer = threading.Thread(target=answer_one, args=(listener,))
        answer.start()
        program = "import socket; print(socket.create_connection(('192.0.2.1', 80)).recv(9))"
        done = run("redirect.py", sys.executable, "-c", program, REDIRECT_PORT=str(port))
        answer.join()
    assert done.stdout == "b'here'\n"


def retry() -> None:
    done = run("retry.py", "sh", "-c", "for i in 1 2 3 4; do echo line $i; done | cat")
    assert "Interrupted system call" in done.stderr or done.stdout.count("line") == 4


def count_opens() -> None:
    done = run("count_opens.py", sys.executable, "-S", "-c", READS)
    assert "Too many open files" in done.stderr or done.returncode != 0
    assert run("count_opens.py", "sh", "-c", "true; true").returncode == 0


def censor() -> None:
    assert run("censor.py", "echo", "a secret thing").stdout == "a ****** thing\n"


def async_quota() -> None:
    listener, port = server()
    program = f"""
import socket, threading, time
def one():
    with socket.create_connection(('127.0.0.1', {port})):
        time.sleep(0.2)
threads = [threading.Thread(target=one) for _ in range(8)]
start = time.monotonic()
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(time.monotonic() - start > 0.39)
"""
    with listener:
        assert run("async_quota.py", sys.executable, "-c", program).stdout == "True\n"


def fake_web() -> None:
    done = run("fake_web.py", "curl", "-s", "http://shop.test/apples", "http://x.test/")
    assert done.stdout == "You asked for /apples.\nYou asked for /.\n"


def slow_network() -> None:
    listener, port = server()
    with listener:
        answer = threading.Thread(target=answer_one, args=(listener,))
        answer.start()
        program = f"import socket; print(socket.create_connection(('127.0.0.1', {port})).recv(9))"
        start = time.monotonic()
        done = run("slow_network.py", sys.executable, "-c", program)
        answer.join()
    assert done.stdout == "b'here'\n"
    assert time.monotonic() - start > 0.45


def offline() -> None:
    listener, port = server()
    with listener:
        answer = threading.Thread(target=answer_one, args=(listener,))
        answer.start()
        program = f"import socket; print(socket.create_connection(('me.test', {port})).recv(9))"
        done = run("offline.py", sys.executable, "-c", program)
        answer.join()
    assert done.stdout == "b'here'\n"
    done = run("offline.py", "curl", "-s", "http://elsewhere.test/")
    assert done.returncode == 6  # could not resolve host


def read_only() -> None:
    here = EXAMPLES / "never"
    text = f"echo a > /tmp/lsca-ro && cat /tmp/lsca-ro; rm /tmp/lsca-ro; echo b > {here}"
    done = run("read_only.py", "sh", "-c", text, said=True)
    assert done.stdout == "a\n" and not here.exists()
    assert "lsca: denied: " in done.stderr and "no files.write allows it" in done.stderr


TESTS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        hidden_file,
        slow_disk,
        disk_full,
        watch_connects,
        fake_random,
        fake_file,
        redirect,
        retry,
        count_opens,
        censor,
        async_quota,
        fake_web,
        slow_network,
        offline,
        read_only,
    )
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_example(name: str) -> None:
    TESTS[name]()


def test_examples_are_short_and_typed() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert 5 <= len(path.read_text().splitlines()) <= 40, path.name
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(EXAMPLES.glob("*.py")))],
        env=os.environ | {"MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
