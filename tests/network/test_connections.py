# SPDX-License-Identifier: Apache-2.0
"""Connections that are refused, led elsewhere, or answered by Python, of programs that connect in different ways; the
program must not be able to tell by the address of its peer. Without a rule all is as the kernel does it.
"""

import socket
import subprocess
import threading
from pathlib import Path

import pytest
from networking import GO, read_all, run, serving

import lsca
from differential import program
from lsca.services.network import Net, Stream

AWAY = ("192.0.2.1", "80")
WAYS = ("connect", "epoll", "fastopen")


def words(address: str) -> list[str]:
    return address.replace("[", "").replace("]", "").rsplit(":", 1)


@pytest.mark.parametrize("way", WAYS)
def test_led_to_another_address(client: str, echo: str, way: str, route: str) -> None:
    done = run("--route", route, "--reroute", f"192.0.2.1:80={echo}", client, way, *AWAY)
    assert done.stderr == ""
    assert done.stdout == "peer 192.0.2.1:80 16\ngot real hello\n"


@pytest.mark.parametrize("way", WAYS)
def test_led_to_a_unix_socket(client: str, unix_echo: str, way: str, route: str) -> None:
    done = run("--route", route, "--reroute", f"192.0.2.1:80={unix_echo}", client, way, *AWAY)
    assert done.stderr == ""
    assert done.stdout == "peer 192.0.2.1:80 16\ngot real hello\n"


def test_ipv6_and_unix_sources(net: str, echo: str, tmp_path: Path) -> None:
    done = run("--reroute", f"[2001:db8::1]:80={echo}", net, "connect", "2001:db8::1", "80")
    assert done.stdout == "peer [2001:db8::1]:80 28\ngot real hello\n"
    path = str(tmp_path / "nothing")
    done = run("--reroute", f"{path}={echo}", net, "connect", path)
    assert done.stdout == f"peer {path}\ngot real hello\n"


def test_nobody_there_is_still_nobody(net: str) -> None:
    """What the kernel says of a closed port, natively, led there, and led there by way of a relay."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    native = subprocess.run([net, "epoll", "127.0.0.1", port], capture_output=True, text=True)
    assert native.stdout == "connect: Connection refused\n"
    for options in (["--net", "loopback"], ["--latency", "1ms"]):
        for way in ("connect", "epoll"):
            done = run(*options, net, way, "127.0.0.1", port)
            assert (done.returncode, done.stdout) == (1, native.stdout)
    done = run("--reroute", f"192.0.2.1:80=127.0.0.1:{port}", net, "connect", *AWAY)
    assert done.stdout == native.stdout


@pytest.mark.parametrize("way", [*WAYS, "sendto", "sendmsg"])
def test_none_refuses_all(client: str, way: str, echo: str, route: str) -> None:
    done = run("--route", route, "--net", "none", client, way, *words(echo))
    assert "unreachable\n" in done.stdout  # musl and glibc have words of their own for it
    assert "lsca: denied: " in done.stderr and "by --net none" in done.stderr


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ("loopback", True),
        ("allow:127.0.0.0/8", True),
        ("allow:127.0.0.1:1-65535", True),
        ("deny:inet6", True),
        ("deny:10.0.0.0/8", True),
        ("deny:unix,allow:loopback", True),
        ("allow:localhost", True),
        ("allow:inet6", False),
        ("allow:127.0.0.1:1", False),
        ("deny:all", False),
        ("deny:127.0.0.1,allow:all", False),
        ("allow:unix", False),
    ],
)
def test_rules(net: str, echo: str, rules: str, allowed: bool) -> None:
    done = run("--net", rules, net, "connect", *words(echo))
    if allowed:
        assert done.stdout == f"peer {echo} 16\ngot real hello\n"
        assert done.stderr == ""
    else:
        assert done.stdout == "connect: Permission denied\n"
        assert "EACCES, by " in done.stderr


def test_unix_sockets_by_path(net: str, unix_echo: str) -> None:
    assert run("--net", f"deny:{unix_echo}", net, "connect", unix_echo).returncode == 1
    assert run("--net", "none", net, "connect", unix_echo).returncode == 0
    assert run("--net", "allow:loopback", net, "connect", unix_echo).returncode == 1


def test_bind(net: str) -> None:
    assert run("--net", "deny:bind::1-65535", net, "bind", "127.0.0.1", "39999").returncode == 1
    assert run("--net", "allow:bind:127.0.0.1", net, "bind", "127.0.0.1", "0").stdout == "bound\n"
    done = run("--net", "allow:bind:127.0.0.1:80", net, "bind", "127.0.0.1", "39999")
    assert done.stdout == "bind: Permission denied\n"


def test_a_refusal_is_in_the_log(net: str, tmp_path: Path) -> None:
    log = tmp_path / "l"
    run("-o", str(log), "--net", "none", net, "connect", *AWAY)
    records = [r for r in lsca.open_log(log) if r.name == "connect"]
    assert [(r.route, r.ret) for r in records] == [("handler", -101)]


def test_a_function_answers(net: str, route: str, tmp_path: Path) -> None:
    seen = []
    with Net() as one:

        @one.answer("192.0.2.1:80")
        def web(stream: Stream) -> None:
            with stream.makefile("rwb") as f:
                seen.append((str(stream.address), f.readline()))
                f.write(b"from Python\n")

        one.reroute(str(tmp_path / "s"), web)
        for argv in ([net, "epoll", *AWAY], [net, "connect", str(tmp_path / "s")]):
            done = lsca.run(argv, handlers=[one], route=route, capture_output=True, text=True)
            assert done.reports == []
            assert done.stdout.endswith("got from Python\n")
    assert seen == [("192.0.2.1:80", b"hello\n"), (str(tmp_path / "s"), b"hello\n")]


def test_a_function_that_raises_is_reported(net: str, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(stream: Stream) -> None:
        raise RuntimeError("on purpose")

    with Net(reroute={"192.0.2.1": broken}) as one:
        done = lsca.run([net, "connect", *AWAY], handlers=[one], capture_output=True, text=True)
    assert "got" in done.stdout or "recv: " in done.stdout or "send: " in done.stdout
    assert "broken, which answers 192.0.2.1:80, raised RuntimeError" in capfd.readouterr().err


@pytest.mark.parametrize("way", ["sendto", "sendmsg"])
def test_datagrams_led_elsewhere(client: str, way: str, route: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def answer() -> None:
            data, who = server.recvfrom(100)
            server.sendto(b"pong to " + data, who)

        thread = threading.Thread(target=answer)
        thread.start()
        target = f"127.0.0.1:{server.getsockname()[1]}"
        done = run(
            "--route", route, "--reroute", f"192.0.2.1:53={target}", client, way, "192.0.2.1", "53"
        )
        thread.join()
    assert done.stdout == "to 192.0.2.1:53 16\nfrom 192.0.2.1:53 16\ngot pong to ping\n"


def test_many_connections_at_once(route: str) -> None:
    """Each gets its own answer, however many there are."""
    source = """
import socket, threading, sys
def one(n):
    s = socket.create_connection(("192.0.2.1", 80))
    s.sendall(b"x" * n * 1000)
    s.shutdown(1)
    data = b""
    while part := s.recv(65536): data += part
    assert data == b"real " + b"x" * n * 1000, (n, len(data))
    results.append(n)
results = []
threads = [threading.Thread(target=one, args=(n,)) for n in range(40)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(results) == list(range(40)))
"""

    def answer(stream: Stream) -> None:
        stream.sendall(b"real " + read_all(stream.socket))

    with Net(reroute={"192.0.2.1": answer}) as one:
        done = lsca.run(
            ["python3", "-c", source], handlers=[one], route=route, capture_output=True, text=True
        )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_what_was_sent_arrives_though_the_program_has_ended(tmp_path: Path) -> None:
    got: list[bytes] = []
    source = """
import socket, sys
host, port = sys.argv[1].split(":")
socket.create_connection((host, int(port))).sendall(b"y" * 300000)
"""
    with serving(lambda stream: got.append(read_all(stream))) as address:
        done = run("--latency", "100ms", "python3", "-c", source, address)
    assert done.returncode == 0 and done.stderr == ""
    assert len(got[0]) == 300000


def test_go(echo: str, route: str) -> None:
    client = program("network/dial.go", compiler=GO)
    options = ["--route", route, "--reroute", f"name.test:80={echo}"]
    done = run(*options, client, "name.test:80")
    assert done.stderr == ""
    assert done.stdout == "peer 198.18.0.2:80\ngot real hello\n"


def test_a_socket_that_is_kept_over_an_exec(echo: str) -> None:
    """It is another program then, with another descriptor, and the same peer."""
    text = """
import os, socket, sys
s = socket.create_connection(("192.0.2.1", 80))
os.dup2(s.fileno(), 9)
os.execv(sys.executable, [sys.executable, "-S", "-c", "import socket; print(socket.socket(fileno=9).getpeername())"])
"""
    for options in ([], ["--latency", "1ms"]):
        done = run(*options, "--reroute", f"192.0.2.1:80={echo}", "python3", "-S", "-c", text)
        assert (done.stdout, done.stderr) == ("('192.0.2.1', 80)\n", "")


def test_a_policy_and_rules_together(net: str, echo: str, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text('[network]\nallow = ["loopback"]\n')
    given = ["--policy", str(policy)]
    assert run(*given, "--net", "deny:127.0.0.1:1", net, "connect", *words(echo)).returncode == 0
    done = run(*given, "--net", "deny:127.0.0.1:1", net, "connect", "127.0.0.1", "1")
    assert done.stderr.endswith("by deny:127.0.0.1:1 (Permission denied)\n")
    done = run(*given, "--net", "deny:127.0.0.1:1", net, "connect", *AWAY)
    assert "p.toml:1: the default of network" in done.stderr
    done = run(*given, "--policy", str(policy), "true")
    assert (done.returncode, done.stderr) == (
        125,
        "lsca: --policy is given twice; a run has one policy\n",
    )


def test_latency_and_bandwidth(net: str, echo: str) -> None:
    import time

    def measured(*options: str) -> float:
        begin = time.monotonic()
        done = run(*options, net, "connect", *words(echo))
        assert done.stdout == f"peer {echo} 16\ngot real hello\n"
        return time.monotonic() - begin

    assert measured("--latency", "200ms") > 0.8  # two ways to connect, one to ask, one to answer
    assert measured("--bandwidth", "10", "--latency", "1ms") > 1.4


@pytest.mark.parametrize(
    ("options", "words_of_it"),
    [
        (["--net", "nune"], "'nune' is no rule for the network; near to it: none"),
        (["--net", "alow:1.2.3.4"], "near to it: allow"),
        (["--net", "allow:1.2.3.400"], "1.2.3.400"),
        (["--net", "allow:::1:80"], "in brackets"),
        (["--net", "none,allow:all"], "nothing to be said beside it"),
        (["--net", "allow:1.2.3.4:99999"], "ports are from 0 to 65535"),
        (["--reroute", "a:80"], "HOST:PORT=TARGET"),
        (["--reroute", "a:80=b:80"], "names are not looked up"),
        (["--resolve", "a=b"], "'b' is no address"),
        (["--latency", "5"], "50ms"),
        (["--bandwidth", "fast"], "no bandwidth"),
        (["--tape", "/nowhere/x"], "cannot be written"),
        (["--replay", "/nowhere/x"], "cannot be read"),
        (["--tape", "/dev/null", "--replay", "/dev/null"], "made or played"),
    ],
)
def test_mistakes(options: list[str], words_of_it: str) -> None:
    done = run(*options, "true")
    assert done.returncode == 125
    assert words_of_it in done.stderr
    assert done.stderr.startswith("lsca: ") and "Traceback" not in done.stderr


def test_greet_is_what_the_kernel_does(net: str, echo: str) -> None:
    """The oracle: without a rule, natively and with the service at work."""
    native = subprocess.run([net, "epoll", *words(echo)], capture_output=True, text=True)
    assert run("--net", "loopback", net, "epoll", *words(echo)).stdout == native.stdout
    assert run("--latency", "1ms", net, "epoll", *words(echo)).stdout == native.stdout
