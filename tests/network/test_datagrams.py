# SPDX-License-Identifier: Apache-2.0
"""Datagrams that are late, lost, recorded, played, led elsewhere, or answered by Python: a program sees of it what it
would see of a real network. The oracle is the kernel, with the same program and a real server.
"""

import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from datagrams import AWAY, answering, free_port, python, words
from networking import run

import lsca
from differential import program
from lsca.errors import HandlerError
from lsca.live.address import Address
from lsca.services.network import Net

# ---- as the kernel does it ----


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("linked", ["dynamic", "static"])
def test_everything_that_a_client_can_do(
    host: str, linked: str, route: str, tmp_path: Path
) -> None:
    client = program("network/datagrams.c", static=linked == "static")
    real = "127.0.0.1" if "." in host else host
    nobody = free_port(real)
    with answering(host=real) as address:
        argv = [client, host, words(address)[1], nobody]
        native = subprocess.run(argv, capture_output=True, text=True)
        assert native.stdout.endswith("recv: Connection refused\n")
        tape = str(tmp_path / "tape")
        for options in (["--net", "loopback"], ["--latency", "2ms"], ["--tape", tape]):
            done = run("--route", route, *options, *argv)
            assert (done.stdout, done.stderr) == (native.stdout, "")
        elsewhere = ["--reroute", f"{AWAY}:53={address}"] if real == host == "127.0.0.1" else []
        for options in (elsewhere, ["--latency", "1ms", *elsewhere]) if elsewhere else ():
            done = run("--route", route, *options, client, AWAY, "53")
            assert done.stderr == ""
            assert f"from {AWAY} 53, 16 bytes" in done.stdout
            assert address.rpartition(":")[2] not in done.stdout
    done = run("--route", route, "--replay", tape, *argv)
    assert (done.stdout, done.stderr) == (native.stdout, "")


def test_a_function_answers_like_a_server(route: str) -> None:
    client = program("network/datagrams.c")
    with answering() as address:
        port = words(address)[1]
        native = subprocess.run([client, "127.0.0.1", port], capture_output=True, text=True)
    seen = set()
    with Net() as net:

        @net.answer_datagrams(f"{AWAY}:{port}")
        def answer(peer: Address, data: bytes) -> bytes:
            seen.add(str(peer))
            return b"pong " + data

        argv = [client, AWAY, port]
        done = lsca.run(argv, handlers=[net], route=route, capture_output=True, text=True)
    assert done.reports == [] and seen == {f"{AWAY}:{port}"}
    assert done.stdout == native.stdout.replace("127.0.0.1 ", f"{AWAY} ").replace(
        f"own {AWAY}", "own 127.0.0.1"
    )


# ---- functions ----


def test_several_answers_and_none(route: str) -> None:
    def several(peer: Address, data: bytes) -> object:
        if data == b"none":
            return None
        if data == b"empty":
            return b""
        return (b"%d" % n for n in range(int(data)))

    text = f"""
s = socket.socket(F, D); s.connect(("{AWAY}", 7))
for word in (b"none", b"3", b"empty", b"0", b"2"): s.send(word)
print([s.recv(10) for _ in range(6)])
"""
    with Net(datagrams={AWAY: several}) as net:  # type: ignore[dict-item]
        done = lsca.run(
            ["python3", "-c", "import socket\nF, D = socket.AF_INET, socket.SOCK_DGRAM" + text],
            handlers=[net],
            route=route,
            capture_output=True,
            text=True,
        )
    assert (done.stdout, done.stderr) == ("[b'0', b'1', b'2', b'', b'0', b'1']\n", "")


@pytest.mark.parametrize("wrong", ["text", 7, [1]])
def test_a_function_that_errs_is_reported(wrong: object, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(peer: Address, data: bytes) -> object:
        if data == b"raise":
            raise RuntimeError("on purpose")
        return wrong if data == b"wrong" else b"fine"

    text = (
        f"s = socket.socket(F, D); s.connect(('{AWAY}', 7)); "
        "[s.send(w) for w in (b'raise', b'wrong', b'')]; print(s.recv(10))"
    )
    with Net(datagrams={AWAY: broken}) as net:  # type: ignore[dict-item]
        argv = ["python3", "-c", "import socket; F, D = socket.AF_INET, socket.SOCK_DGRAM; " + text]
        done = lsca.run(argv, handlers=[net], capture_output=True, text=True)
    said = capfd.readouterr().err
    assert done.stdout == "b'fine'\n"
    assert f"broken, which answers {AWAY}:7, raised RuntimeError: on purpose" in said
    assert f"broken, which answers {AWAY}:7, raised TypeError: " in said


def test_functions_for_connections_and_for_datagrams_at_one_place(echo: str) -> None:
    """Each has its own, and what has none is as it was."""
    port = int(words(echo)[1])
    text = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", {port})); s.send(b"1")
t = socket.create_connection(("127.0.0.1", {port})); peers = s.getpeername(), t.getpeername()
t.sendall(b"2"); t.shutdown(1); print(s.recv(9), t.recv(9), peers[0] == peers[1])
"""
    with Net(datagrams={f"127.0.0.1:{port}": lambda peer, data: b"dg " + data}) as net:
        argv = [sys.executable, "-c", text]
        done = lsca.run(argv, handlers=[net], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("b'dg 1' b'real 2' True\n", "")
        net.answer(f"127.0.0.1:{port}")(lambda stream: stream.sendall(b"st"))
        done = lsca.run(argv, handlers=[net], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("b'dg 1' b'st' True\n", "")


SYSLOG = """
import logging, logging.handlers, syslog
syslog.openlog("prog"); syslog.syslog("one")
log = logging.getLogger(); log.addHandler(logging.handlers.SysLogHandler("/dev/log")); log.error("two")
"""


def test_unix_datagrams_of_real_programs(route: str, tmp_path: Path) -> None:
    """What programs write to the system's log, by libc and by Python; a server that is answered in the file system."""
    seen = []
    client = f"""
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind({str(tmp_path / "c")!r})
s.sendto(b"ask", "/x/y/z"); print(s.recvfrom(100))
s.sendmsg([b"ask ", b"more"], [], 0, "/x/y/z"); print(s.recvmsg(100))
s.connect("/x/y/z"); s.send(b"y" * 150000); print(len(s.recv(200000)), s.getpeername())
"""
    with Net() as net:
        net.answer_datagrams("/dev/log")(lambda peer, data: seen.append(data))
        net.answer_datagrams("/x/y/z")(lambda peer, data: data[:100000] + b"!")
        for text in (SYSLOG, client):
            argv = [sys.executable, "-c", text]
            done = lsca.run(argv, handlers=[net], route=route, capture_output=True, text=True)
            assert (done.stderr, done.reports) == ("", [])
    assert [one.rstrip(b"\n\0").rpartition(b" ")[2].rpartition(b":")[2] for one in seen] in (
        [b"one", b"two"],
        [b"one", b"<11>two"],
    ) or (b"one" in seen[0] and b"two" in seen[1])
    assert done.stdout == ("(b'ask!', '/x/y/z')\n(b'ask more!', [], 0, '/x/y/z')\n100001 /x/y/z\n")


def test_no_unix_datagram_is_lost(tmp_path: Path) -> None:
    """A socket that is not read for a while, and more answers than it has room for."""
    text = f"""
s = socket.socket(U, D); s.bind({str(tmp_path / "c")!r}); s.connect("/x/y/z")
s.send(b"500"); select.select([], [], [], 0.2)
print([int(s.recv(10)) for _ in range(500)] == list(range(500)))
"""
    head = "import select, socket; U, D = socket.AF_UNIX, socket.SOCK_DGRAM\n"
    with Net(datagrams={"/x/y/z": lambda _, data: (b"%d" % n for n in range(int(data)))}) as net:
        argv = [sys.executable, "-c", head + text]
        done = lsca.run(argv, handlers=[net], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")


# ---- slow, and bad ----

LATE = """
a, b = socket.socket(F, D), socket.socket(F, D)
b.bind(("127.0.0.1", 0))
a.sendto(b"x" * SIZE, b.getsockname())
try: print(len(b.recv(SIZE, socket.MSG_DONTWAIT)))
except BlockingIOError: print("nothing yet", select.select([b], [], [], 0)[0])
if len(sys.argv) < 2: print(len(b.recv(SIZE)))
"""


def test_latency_and_bandwidth(route: str) -> None:
    """Natively it is there at once; here it is not, and comes."""
    text = LATE.replace("SIZE", "1000")
    for options in (["--latency", "3s"], ["--bandwidth", "300"]):
        done = python(text, "--route", route, *options)
        assert (done.stdout, done.stderr) == ("nothing yet []\n1000\n", "")


def test_loss_is_the_same_for_the_same_seed() -> None:
    text = """
s = socket.socket(F, D); s.connect(("192.0.2.1", 7))
for n in range(60): s.send(b"%d" % n)
s.send(b"end"); got = []
while select.select([s], [], [], 2)[0]: got.append(s.recv(10))
print(len(got), got)
"""

    def received(loss: float, seed: int) -> str:
        with Net(datagrams={AWAY: lambda peer, data: data}, loss=loss, seed=seed) as net:
            head = "import select, socket; F, D = socket.AF_INET, socket.SOCK_DGRAM\n"
            argv = [sys.executable, "-c", head + text]
            return str(lsca.run(argv, handlers=[net], capture_output=True, text=True).stdout)

    one = received(0.5, 7)
    assert 0 < int(one.split()[0]) < 40
    assert received(0.5, 7) == one
    assert received(0.5, 8) != one
    assert received(0, 7).startswith("61 ")
    assert received(1, 7) == "0 []\n"


def test_loss_on_the_command_line() -> None:
    with answering() as address:
        host, port = words(address)
        text = f"""
s = socket.socket(F, D); s.connect(("{host}", {port}))
for n in range(20): s.send(b"%d" % n)
n = 0
while select.select([s], [], [], 2)[0]: n += 1; s.recv(20)
print(n)
"""
        done = python(text, "--loss", "100%", "--seed", "1")
        assert (done.stdout, done.stderr) == ("0\n", "")
        done = python(text, "--loss", "50%")
        assert "makes the same choices again" in done.stderr
        seed = done.stderr.split("--seed ")[1].split()[0]
        again = python(text, "--loss", "50%", "--seed", seed)
        assert (again.stdout, again.stderr) == (done.stdout, "")


def test_what_was_sent_arrives_though_the_program_has_ended() -> None:
    got = []
    with answering(lambda s, data, who: got.append(data)) as address:
        host, port = words(address)
        text = f"[socket.socket(F, D).sendto(b'%d' % n, ('{host}', {port})) for n in range(20)]"
        done = python(text, "--latency", "300ms")
        assert (done.returncode, done.stderr) == (0, "")
    assert got == [b"%d" % n for n in range(20)]


def test_many_sockets_at_once(route: str) -> None:
    """Each gets its own answers, in order, however many there are."""
    text = """
import threading
host, port = ADDRESS
def one(n):
    s = socket.socket(F, D)
    if n % 2: s.connect((host, port))
    for i in range(20):
        s.send(b"%d %d" % (n, i)) if n % 2 else s.sendto(b"%d %d" % (n, i), (host, port))
        data, who = s.recvfrom(100)
        assert (data, who) == (b"pong %d %d" % (n, i), (host, port)), (data, who)
    results.append(n)
results = []
threads = [threading.Thread(target=one, args=(n,)) for n in range(30)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(results) == list(range(30)))
"""
    with answering() as address:
        host, port = words(address)
        text = text.replace("ADDRESS", f"({host!r}, {port})")
        for options in ([], ["--latency", "1ms"]):
            done = python(text, "--route", route, *options)
            assert (done.stdout, done.stderr) == ("True\n", "")


# ---- whom programs talk to ----


def test_a_server_answers_whoever_asks_it(route: str) -> None:
    """What others begin is not LSCA's: they see the server's own address, and it sees theirs."""
    text = """
s = socket.socket(F, D); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
data, who = s.recvfrom(100); s.sendto(b"to " + data, who)
data, _, _, who = s.recvmsg(100); s.sendmsg([b"to ", data], [], 0, who)
"""
    argv = [sys.executable, "-m", "lsca", "run", "--no-daemon", "--route", route]
    argv += ["--latency", "1ms", "--", sys.executable, "-c"]
    head = "import socket; F, D = socket.AF_INET, socket.SOCK_DGRAM\n"
    with (
        subprocess.Popen([*argv, head + text], stdout=subprocess.PIPE, text=True) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s,
    ):
        assert server.stdout
        place = ("127.0.0.1", int(server.stdout.readline()))
        s.settimeout(20)
        for _ in range(2):
            s.sendto(b"me", place)
            assert s.recvfrom(100) == (b"to me", place)


def test_an_answer_from_another_port(route: str, tmp_path: Path) -> None:
    """As TFTP has it: the conversation goes on with whoever has answered, and both know each other by one address."""
    others: list[socket.socket] = []

    def elsewhere(s: socket.socket, data: bytes, who: tuple[str, int]) -> None:
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("127.0.0.1", 0))
        other.settimeout(20)
        others.append(other)
        other.sendto(b"block 1", who)
        _, again = other.recvfrom(100)
        other.sendto(b"same" if again == who else b"other", again)

    text = """
s = socket.socket(F, D); s.settimeout(20)
s.sendto(b"get", ADDRESS)
data, who = s.recvfrom(100); print(data, who[1] != ADDRESS[1])
s.sendto(b"ack", who); print(s.recvfrom(100) == (b"same", who))
"""
    with answering(elsewhere) as address:
        host, port = words(address)
        text = text.replace("ADDRESS", f"({host!r}, {port})")
        tape = str(tmp_path / "t")
        for options in (["--latency", "1ms"], ["--tape", tape]):
            done = python(text, "--route", route, *options)
            assert (done.stdout, done.stderr) == ("b'block 1' True\nTrue\n", "")
    for other in others:
        other.close()
    done = python(text, "--route", route, "--replay", tape)
    assert (done.stdout, done.stderr) == ("b'block 1' True\nTrue\n", "")


def test_led_to_another_kind(route: str, tmp_path: Path) -> None:
    """From the Internet to a Unix socket, and back."""
    path = str(tmp_path / "s")
    text = f"s = socket.socket(F, D); s.sendto(b'1', ('{AWAY}', 7)); print(s.recvfrom(10))"
    with answering(path=path):
        done = python(text, "--route", route, "--reroute", f"{AWAY}={path}")
        assert (done.stdout, done.stderr) == (f"(b'pong 1', ('{AWAY}', 7))\n", "")
    done = python(text, "--reroute", f"{AWAY}={tmp_path / 'nothing'}")
    assert "FileNotFoundError" in done.stderr
    text = f"s = socket.socket(U, D); s.bind({str(tmp_path / 'c')!r}); "
    text += f"s.sendto(b'1', {path!r} + '2'); print(s.recvfrom(10))"
    with answering() as address:
        done = python(text, "--route", route, "--reroute", f"{path}2={address}")
        assert (done.stdout, done.stderr) == (f"(b'pong 1', '{path}2')\n", "")


def test_the_own_address_is_that_of_the_way_there() -> None:
    """How programs find out what address they have: natively, and where nothing goes there directly."""
    text = f"s = socket.socket(F, D); s.connect(('{AWAY}', 7)); print(s.getsockname()[0])"
    head = "import socket; F, D = socket.AF_INET, socket.SOCK_DGRAM; "
    native = subprocess.run([sys.executable, "-c", head + text], capture_output=True, text=True)
    done = python(text, "--latency", "1ms")
    assert (done.stdout, done.returncode) == (native.stdout, native.returncode)


def test_those_before_one_that_is_refused_are_sent(route: str) -> None:
    """sendmmsg with three addresses, of which the last is not allowed."""
    with answering() as address:
        host, port = words(address)
        text = f"""
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket(F, D)
names = [struct.pack("<H", 2) + struct.pack("!H4s8x", p, socket.inet_aton(h)) for h, p in
         (("{host}", {port}), ("{host}", {port}), ("{AWAY}", 1))]
keep = [ctypes.create_string_buffer(n, 16) for n in names]; data = ctypes.create_string_buffer(b"x", 1)
iov = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(data), 1))
head = struct.Struct("<QIxxxxQQQQi4xI4x")
m = [head.pack(ctypes.addressof(k), 16, ctypes.addressof(iov), 1, 0, 0, 0, 0) for k in keep]
m = ctypes.create_string_buffer(b"".join(m), 192)
print(libc.sendmmsg(s.fileno(), m, 3, 0), s.recv(9), s.recv(9))
last = ctypes.c_void_p(ctypes.addressof(m) + 128)
print(libc.sendmmsg(s.fileno(), last, 1, 0), os.strerror(ctypes.get_errno()))
"""
        done = python(text, "--route", route, "--net", "allow:loopback")
    assert done.stdout == "2 b'pong x' b'pong x'\n-1 Permission denied\n"
    assert "by --net allow:loopback" in done.stderr


# ---- mistakes, and the end ----


@pytest.mark.parametrize(
    ("options", "words_of_it"),
    [
        (["--loss", "5"], "5% and 0.1% are"),
        (["--loss", "101%"], "no part of a hundred"),
        (["--loss", "1%", "--loss", "2%"], "it is given twice"),
    ],
)
def test_mistakes(options: list[str], words_of_it: str) -> None:
    done = run(*options, "true")
    assert done.returncode == 125
    assert words_of_it in done.stderr and "Traceback" not in done.stderr


def test_mistakes_in_python() -> None:
    with pytest.raises(HandlerError, match="a part of 1"):
        Net(loss=5)
    with pytest.raises(HandlerError, match="answered by a function"):
        Net(datagrams={AWAY: "127.0.0.1:80"})  # type: ignore[dict-item]
    gc.collect()  # what others have left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Net(datagrams={AWAY: lambda peer, data: data}).close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_nobody_hangs_when_lsca_is_killed(route: str) -> None:
    """What is under way is lost, as with any network; connected sockets learn that nobody is there."""
    text = """
s = socket.socket(F, D); s.connect(("192.0.2.1", 7)); s.send(b"1"); print(s.recv(9), flush=True)
s.settimeout(20); sys.stdin.readline()
for _ in range(3):
    try: s.send(b"2"); s.recv(9)
    except OSError as e: print(e.strerror, flush=True); break
"""
    handlers = """
from lsca.services.network import Net
net = Net()
net.answer_datagrams("192.0.2.1")(lambda peer, data: b"yes")
"""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(handlers)
        file.flush()
        head = "import socket, sys; F, D = socket.AF_INET, socket.SOCK_DGRAM\n"
        argv = [
            sys.executable,
            "-m",
            "lsca",
            "run",
            "--no-daemon",
            "--route",
            route,
            "-s",
            file.name,
        ]
        with subprocess.Popen(
            [*argv, "--", sys.executable, "-c", head + text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin and process.stdout
            assert process.stdout.readline() == "b'yes'\n"
            process.kill()
            process.wait()
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.read() == "Connection refused\n"
