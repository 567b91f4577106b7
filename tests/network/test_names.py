# SPDX-License-Identifier: Apache-2.0
"""Names that have the addresses that they are told to have: for getaddrinfo of glibc and musl, Go, Python, curl."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networking import GO, run, serving

import lsca
from differential import program
from lsca.errors import HandlerError
from lsca.services.network import Net, dns

LOOK_UP = """
import socket, sys
for name in sys.argv[1:]:
    try:
        print(name, sorted({info[4][0] for info in socket.getaddrinfo(name, 80)}))
    except OSError as error:
        print(name, error.strerror)
"""


def look_up(options: list[str], *names: str) -> list[str]:
    done = run(*options, "python3", "-c", LOOK_UP, *names)
    assert "lsca:" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_addresses_that_are_given(route: str) -> None:
    options = [
        "--route",
        route,
        "--resolve",
        "a.test=192.0.2.7,2001:db8::7",
        "--resolve",
        "*.b.test=192.0.2.8",
    ]
    options += ["--resolve", "no.b.test=NXDOMAIN", "--resolve", "*=NXDOMAIN"]
    assert look_up(options, "a.test", "x.b.test", "no.b.test", "else.test", "localhost")[:4] == [
        "a.test ['192.0.2.7', '2001:db8::7']",
        "x.b.test ['192.0.2.8']",
        "no.b.test Name or service not known",
        "else.test Name or service not known",
    ]


@pytest.mark.parametrize("kind", ["dynamic", "musl"])
def test_c_programs(kind: str) -> None:
    client = program("network/resolve.c", musl=kind == "musl")
    done = run(
        "--resolve",
        "a.test=192.0.2.7,2001:db8::7",
        "--resolve",
        "*=NXDOMAIN",
        client,
        "a.test",
        "b.test",
    )
    assert sorted(done.stdout.splitlines()) == ["192.0.2.7", "2001:db8::7", "b.test: not found"]


def test_backwards() -> None:
    text = "import socket; print(socket.gethostbyaddr('192.0.2.7')[0])"
    assert run("--resolve", "a.test=192.0.2.7", "python3", "-c", text).stdout == "a.test\n"


def test_a_function_of_the_name() -> None:
    def resolver(name: str) -> list[str] | None:
        return [f"192.0.2.{len(name)}"] if name.endswith(".len") else []

    with Net(resolve=resolver) as net:
        words = ["python3", "-c", LOOK_UP, "abc.len", "x.test"]
        done = lsca.run(words, handlers=[net], capture_output=True, text=True)
    assert done.stdout == "abc.len ['192.0.2.7']\nx.test Name or service not known\n"


@contextmanager
def name_server() -> Iterator[str]:
    """A real one, on this machine: knows real.test, and notes what it is asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))

        def serve() -> None:
            try:
                while True:
                    data, who = s.recvfrom(4096)
                    asked = dns.question(data)
                    known = asked.name == "real.test"
                    s.sendto(
                        dns.reply(asked, ["127.0.0.1"] if known else [], code=0 if known else 3),
                        who,
                    )
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{s.getsockname()[1]}"


def test_what_is_not_given_is_asked_of_the_server() -> None:
    from lsca import Address
    from lsca.services.network.names import Names

    with name_server() as server:
        noted = []
        names = Names({"a.test": "192.0.2.1"}, note=lambda *what: noted.append(what))
        query = (
            struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + dns.write_name("real.test") + b"\0\1\0\1"
        )
        assert dns.addresses(names.answer(query, Address.of(server), udp=True)) == (
            0,
            ["127.0.0.1"],
        )
        assert noted == [
            ("a.test", "A", ["192.0.2.1"]),
            ("a.test", "AAAA", []),
            ("real.test", "A", ["127.0.0.1"]),
        ]
        assert names.of(Address.of("127.0.0.1:80")) == {"real.test"}
        refused = Names({}, asks=lambda name, address: False)
        assert dns.addresses(refused.answer(query, Address.of(server), udp=True)) == (
            dns.REFUSED,
            [],
        )


def test_rules_by_name(echo: str) -> None:
    """A name that is resolved here is known behind the address, so rules can speak of it."""
    port = echo.rpartition(":")[2]
    go = program("network/dial.go", compiler=GO)
    names = ["--resolve", "good.test=127.0.0.1", "--resolve", "bad.test=127.0.0.2"]
    rules = ["--net", f"allow:*.test:{port},deny:all"]
    assert "got real hello" in run(*names, *rules, go, f"good.test:{port}").stdout
    done = run(*names, "--net", "deny:bad.test", go, f"bad.test:{port}")
    assert "permission denied" in done.stdout
    assert "by deny:bad.test" in done.stderr


def test_a_name_that_may_not_be_asked_for_is_said() -> None:
    done = run("--net", "deny:bad.test,deny::53", "python3", "-c", LOOK_UP, "else.test")
    assert "else.test" in done.stdout and "['" not in done.stdout
    assert "denied: else.test is not asked of the name server " in done.stderr
    assert done.stderr.count("else.test is not asked") == done.stderr.count("lsca:")


@pytest.mark.parametrize("latency", [[], ["--latency", "1ms"]])
def test_the_other_family_is_tried(echo: str, latency: list[str]) -> None:
    """curl asks for both families at once, and takes the one where somebody is."""
    with serving(serve_page) as server:
        url = f"http://dual.test:{server.rpartition(':')[2]}/"
        argv = ["curl", "-s", "-w", "%{remote_ip}", url]
        done = run(*latency, "--resolve", "dual.test=::1,127.0.0.1", *argv)
    assert (done.stdout, done.stderr) == ("page127.0.0.1", "")


def serve_page(stream: socket.socket) -> None:
    stream.recv(1000)
    stream.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npage")


def test_names_of_the_machine_are_not_lost() -> None:
    done = run("--resolve", "a.test=192.0.2.7", "cat", "/etc/hosts")
    assert "192.0.2.7\ta.test\n" in done.stdout
    with open("/etc/hosts") as f:
        assert f.read().rstrip("\n") in done.stdout


@pytest.mark.parametrize(
    "wrong", [{"a b": "127.0.0.1"}, {"a.test": "300.1.1.1"}, {"a.test": "b.test"}]
)
def test_mistakes(wrong: dict[str, str]) -> None:
    with pytest.raises(HandlerError):
        Net(resolve=wrong).check()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (dns.question, dns.addresses):
        try:
            read(data)
        except dns.MessageError:
            pass


@given(
    st.lists(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), min_size=1, max_size=4),
    st.lists(st.ip_addresses(v=4).map(str), max_size=8),
)
def test_what_is_written_can_be_read(labels: list[str], answers: list[str]) -> None:
    name = ".".join(labels)
    query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + dns.write_name(name) + b"\0\1\0\1"
    asked = dns.question(query)
    assert (asked.name, asked.type_name, asked.id) == (name, "A", 7)
    assert dns.addresses(dns.reply(asked, answers)) == (0, answers)
