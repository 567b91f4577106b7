# SPDX-License-Identifier: Apache-2.0
"""Runs every example of examples/handlers, as its own docstring says, and looks whether it does what it says."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from differential import ROOT

EXAMPLES = ROOT / "examples" / "handlers"
READS = "import os; [os.close(os.open('/dev/null', os.O_RDONLY)) for _ in range(30)]"


def run(
    example: str, *argv: str, options: Sequence[str] = (), said: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsca", "run", "--no-daemon", *options]
    command += ["-s", str(EXAMPLES / example)]
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


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def read_only(place: str) -> None:
    needs("git")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", place]
    subprocess.run(["git", "init", "-q", place], check=True)
    commit = [*git, "commit", "-q", "--allow-empty", "-m", "x"]
    assert run("read_only.py", *commit, READ_ONLY=place).returncode == 128
    assert run("read_only.py", "mkdir", f"{place}/x", READ_ONLY=place).returncode == 1
    assert run("read_only.py", *git, "status", READ_ONLY=place).returncode == 0
    subprocess.run(commit, check=True)


def offline(place: str) -> None:
    needs("curl")
    done = run("offline.py", "curl", "-sS", "--noproxy", "*", "http://192.0.2.1/")
    assert done.returncode == 7
    listener, port = server()
    with listener:
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        assert run("offline.py", sys.executable, "-c", program).returncode == 0


def fixed_clock(place: str) -> None:
    done = run("fixed_clock.py", "date", "-u", "+%F %T", options=["--no-vdso"])
    assert done.stdout == "2000-05-01 12:00:00\n"


def say_programs(place: str) -> None:
    done = run("say_programs.py", "sh", "-c", "git --version; exec echo 'two words'")
    assert re.search(r"^\w+\[\d+\]: git --version$", done.stderr, re.MULTILINE)
    assert re.search(r"^\w+\[\d+\]: echo 'two words'$", done.stderr, re.MULTILINE)


def broken_sync(place: str) -> None:
    needs("sqlite3")
    command = ["sqlite3", f"{place}/a.db", "create table t(x)"]
    assert "disk I/O error" in run("broken_sync.py", *command).stderr
    subprocess.run(command, check=True)


def short_writes(place: str) -> None:
    needs("rsync")
    source = Path(place, "from")
    source.write_text("some words that are longer than seven bytes\n" * 50)
    assert run("short_writes.py", "rsync", str(source), f"{place}/to").returncode == 0
    assert Path(place, "to").read_text() == source.read_text()


def tee(place: str) -> None:
    done = run("tee.py", "sh", "-c", "echo one; echo two", TEE=f"{place}/copy")
    assert done.stdout == Path(place, "copy").read_text() == "one\ntwo\n"


def slow_network(place: str) -> None:
    listener, port = server()
    start = time.monotonic()
    with listener:
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        assert run("slow_network.py", sys.executable, "-c", program).returncode == 0
    assert time.monotonic() - start > 0.1


def without_backups(place: str) -> None:
    for name in ("a", "a~", "b"):
        Path(place, name).touch()
    assert run("without_backups.py", "ls", place).stdout == "a\nb\n"


def seems_root(place: str) -> None:
    assert run("seems_root.py", "id", "-u").stdout == "0\n"
    Path(place, "mine").touch()
    assert run("seems_root.py", "chown", "4711", f"{place}/mine").returncode == 0
    assert os.stat(f"{place}/mine").st_uid == os.getuid()


def other_host(place: str) -> None:
    assert run("other_host.py", "uname", "-n").stdout == "elsewhere\n"


def guard(place: str) -> None:
    Path(place, "my.key").touch()
    done = run("guard.py", "rm", "-f", f"{place}/my.key")
    assert done.returncode == -signal.SIGKILL
    assert Path(place, "my.key").exists()


def no_memory_to_fork(place: str) -> None:
    done = run("no_memory_to_fork.py", sys.executable, "-c", "import os; os.fork()")
    assert "Cannot allocate memory" in done.stderr
    if shutil.which("redis-server") is None:
        return
    path = f"{place}/redis.sock"
    served = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", place, "--save", ""]
    answers = []

    def ask() -> None:
        for _ in range(200):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        for words in (["set", "a", "1"], ["bgsave"], ["shutdown", "nosave"]):
            asked = subprocess.run(
                ["redis-cli", "-s", path, *words], capture_output=True, text=True, timeout=30
            )
            answers.append(asked.stdout)

    asking = threading.Thread(target=ask)
    asking.start()
    run("no_memory_to_fork.py", *served)
    asking.join()
    assert answers[0] == "OK\n"
    assert "ERR" in answers[1]


GO = """package main

import (
	"fmt"
	"runtime"
)

func main() { fmt.Println(runtime.NumCPU()) }
"""


def one_cpu(place: str) -> None:
    assert run("one_cpu.py", "nproc").stdout == "1\n"
    if shutil.which("go") is None:
        return
    Path(place, "cpus.go").write_text(GO)
    subprocess.run(
        ["go", "build", "-o", "cpus", "cpus.go"],
        cwd=place,
        env=os.environ | {"CGO_ENABLED": "0", "GOCACHE": f"{tempfile.gettempdir()}/lsca-go"},
        check=True,
    )
    assert run("one_cpu.py", f"{place}/cpus").stdout == "1\n"


def virtual_tree() -> None:
    assert run("virtual_tree.py", "cat", "/virtual/readme.txt").stdout.startswith("Nothing of this")
    config = {"GIT_CONFIG_GLOBAL": "/virtual/etc/gitconfig"}
    assert run("virtual_tree.py", "git", "config", "user.name", **config).stdout == "Nobody\n"


def frozen_time() -> None:
    with tempfile.TemporaryDirectory() as place:
        text = (
            "git init -q; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m now; "
            "git log --format=%at"
        )
        assert run("frozen_time.py", "sh", "-c", f"cd {place}; {text}").stdout == "1893456000\n"


def same_every_time() -> None:
    text = "sqlite3 :memory: 'select random()'; date +%s; hostname; whoami"
    first, second = (run("same_every_time.py", "sh", "-c", text).stdout for _ in range(2))
    assert first == second
    assert first.split("\n", 1)[1] == "1893456000\nsomewhere\nnobody-else\n"


def trial() -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "new").mkdir()
        (Path(place) / "src").mkdir()
        (Path(place) / "new" / "f").touch()
        there = {"TRIAL": f"{place}/src", "XDG_STATE_HOME": place}
        run("trial.py", "rsync", "-a", f"{place}/new/", f"{place}/src/", **there)
        assert os.listdir(f"{place}/src") == []
        command = [sys.executable, "-m", "lsca", "diff", f"{place}/src"]
        done = subprocess.run(command, env=os.environ | there, capture_output=True, text=True)
        assert done.stdout == "added    f\n"


def fake_web() -> None:
    done = run("fake_web.py", "curl", "-s", "http://shop.test/apples", "http://x.test/")
    assert done.stdout == "You asked for /apples.\nYou asked for /.\n"


def time_server() -> None:
    program = """
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.123", 123))
s.settimeout(0.5)
while True:
    s.send(bytes(48))
    try: answer = s.recv(100)
    except OSError: continue
    break
print(len(answer), abs(struct.unpack("!I", answer[40:44])[0] - 2_208_988_800 - time.time()) < 3600)
"""
    assert run("time_server.py", sys.executable, "-c", program).stdout == "48 True\n"


def in_a_train() -> None:
    listener, port = server()
    with listener:
        answer = threading.Thread(target=answer_one, args=(listener,))
        answer.start()
        program = f"import socket; print(socket.create_connection(('127.0.0.1', {port})).recv(9))"
        start = time.monotonic()
        done = run("in_a_train.py", sys.executable, "-c", program)
        answer.join()
    assert done.stdout == "b'here'\n"
    assert time.monotonic() - start > 0.45


def own_machine_only() -> None:
    listener, port = server()
    with listener:
        answer = threading.Thread(target=answer_one, args=(listener,))
        answer.start()
        program = f"import socket; print(socket.create_connection(('me.test', {port})).recv(9))"
        done = run("own_machine_only.py", sys.executable, "-c", program)
        answer.join()
    assert done.stdout == "b'here'\n"
    done = run("own_machine_only.py", "curl", "-s", "http://elsewhere.test/")
    assert done.returncode == 6  # could not resolve host


def held_to_policy() -> None:
    here = EXAMPLES / "never"
    text = f"echo a > /tmp/lsca-ro && cat /tmp/lsca-ro; rm /tmp/lsca-ro; echo b > {here}"
    done = run("held_to_policy.py", "sh", "-c", text, said=True)
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
        virtual_tree,
        frozen_time,
        same_every_time,
        trial,
        fake_web,
        time_server,
        in_a_train,
        own_machine_only,
        held_to_policy,
    )
}

IN_A_PLACE: dict[str, Callable[[str], None]] = {
    function.__name__: function
    for function in (
        read_only,
        offline,
        fixed_clock,
        say_programs,
        broken_sync,
        short_writes,
        tee,
        slow_network,
        without_backups,
        seems_root,
        other_host,
        guard,
        no_memory_to_fork,
        one_cpu,
    )
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_example(name: str, tmp_path: Path) -> None:
    if name in TESTS:
        TESTS[name]()
    else:
        IN_A_PLACE[name](str(tmp_path))


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
