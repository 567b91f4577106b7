# SPDX-License-Identifier: Apache-2.0
"""Datagrams that are recorded, and played again when the servers are gone; a real resolver in each of these worlds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from datagrams import AWAY, answering, python, words
from networking import run

import lsca
from lsca.services.network import Net

# ---- real resolvers ----

RESOLVE = """
import dns.message, dns.query, dns.resolver, sys
host, port, tcp = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["tcp"]
r = dns.resolver.Resolver(configure=False)
r.nameservers, r.port, r.lifetime = [host], port, 20
for name, kind in (("a.test", "A"), ("a.test", "AAAA"), ("t.test", "TXT"), ("none.test", "A"), ("big.test", "TXT")):
    try: print(name, kind, sorted(str(one) for one in r.resolve(name, kind, tcp=tcp))[:3])
    except Exception as e: print(name, type(e).__name__)
q = dns.message.make_query("a.test", "A", id=7)
print(sorted(str(dns.query.udp(q, host, port=port, timeout=20).answer[0]).split()))
try: dns.query.udp(q, host, port=port, timeout=20, source="127.0.0.1", ignore_unexpected=False); print("fine")
except Exception as e: print(type(e).__name__)
"""
ZONE = {
    ("a.test.", "A"): ["192.0.2.7", "192.0.2.8"],
    ("a.test.", "AAAA"): ["2001:db8::7"],
    ("t.test.", "TXT"): ['"some text"'],
    ("big.test.", "TXT"): [f'"{n} {"x" * 200}"' for n in range(6)],
}


def answer_of(query: bytes) -> bytes:
    """What a name server would say, made with dnspython."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    asked = dns.message.from_wire(query)
    question = asked.question[0]
    kind = question.to_text().split()[-1]
    reply = dns.message.make_response(asked)
    texts = ZONE.get((question.name.to_text(), kind), [])
    if texts:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
    else:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply.to_wire()


def test_a_resolver(route: str, tmp_path: Path) -> None:
    """dnspython asks a server: natively, far away, recorded, played, and a function in the server's place."""

    def resolve(*options: str) -> str:
        argv = [sys.executable, "-c", RESOLVE, host, port]
        done = (
            run("--route", route, *options, "--", *argv)
            if options
            else subprocess.run(argv, capture_output=True, text=True, timeout=60)
        )
        assert done.stderr == ""
        return done.stdout

    tape = str(tmp_path / "t")
    with answering(lambda s, data, who: s.sendto(answer_of(data), who)) as address:
        host, port = words(address)
        native = resolve()
        assert "a.test A ['192.0.2.7', '192.0.2.8']" in native and "none.test NXDOMAIN" in native
        assert resolve("--latency", "5ms", "--bandwidth", "1M") == native
        assert resolve("--seed", "7", "--tape", tape) == native
    assert resolve("--seed", "7", "--replay", tape) == native  # the numbers of queries are random
    with Net(datagrams={address: lambda peer, data: answer_of(data)}) as net:
        argv = [sys.executable, "-c", RESOLVE, host, port]
        done = lsca.run(argv, handlers=[net], route=route, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (native, "")
    lines = [json.loads(line) for line in Path(tape).read_text().splitlines()]
    assert sum("to" in line for line in lines) == 7
    assert {line["to"] for line in lines if "to" in line} == {address}


def test_names_are_slow_and_lost_as_well() -> None:
    """Name servers are answered by LSCA where names are given; such datagrams go over the same network."""
    text = "import socket; print(socket.getaddrinfo('a.test', 80)[0][4])"
    argv = ["--resolve", "a.test=192.0.2.7", "--resolve", "*=NXDOMAIN", "--latency", "10ms"]
    done = run(*argv, "--", sys.executable, "-c", text)
    assert (done.stdout, done.stderr) == ("('192.0.2.7', 80)\n", "")


# ---- tapes ----

ASK = """
s = socket.socket(F, D); s.connect((HOST, PORT)); s.settimeout(WAIT)
for word in WORDS:
    try: s.send(word); print(s.recv(100))
    except OSError as e: print(e)
"""


def ask(address: str, *words_: bytes, wait: float = 20) -> str:
    host, port = words(address)
    text = ASK.replace("HOST", repr(host)).replace("PORT", port).replace("WORDS", repr(words_))
    return text.replace("WAIT", str(wait))


def test_what_is_on_a_tape_and_what_is_not(tmp_path: Path) -> None:
    tape = tmp_path / "t"
    with answering() as address:
        done = python(ask(address, b"1", b"\xff2"), "--tape", str(tape))
        assert done.stdout == "b'pong 1'\nb'pong \\xff2'\n"
    assert [json.loads(line) for line in tape.read_text().splitlines()] == [
        {"tape": 1},
        {"datagrams": 1, "to": address},
        {"datagrams": 1, "sent": "1"},
        {"datagrams": 1, "received": "pong 1"},
        {"datagrams": 1, "sent64": "/zI="},
        {"datagrams": 1, "received64": "cG9uZyD/Mg=="},
    ]

    def play(text: str) -> subprocess.CompletedProcess[str]:
        return python(text, "--replay", str(tape))

    done = play(ask(address, b"1", b"1", b"\xff2"))  # the second is the first again
    assert (done.stdout, done.stderr) == ("b'pong 1'\nb'pong 1'\nb'pong \\xff2'\n", "")
    done = play(ask(address, b"3", wait=0.3))
    assert done.stdout == "timed out\n"
    assert (
        f"datagrams 1 to {address}: the program sends b'3', where the tape has b'1'" in done.stderr
    )
    done = play(ask(address, b"1") + ask(address, b"1"))
    assert done.stdout == "b'pong 1'\n[Errno 111] Connection refused\n"
    assert f"sends to {address}, and these datagrams are not on the tape, of which" in done.stderr
    done = play("")
    assert f"datagrams 1 to {address}: not made this time" in done.stderr
    done = play(ask("192.0.2.1:9", b"1"))
    assert (
        f"sends to 192.0.2.1:9, and these datagrams are not on the tape; left on it: {address}"
        in (done.stderr)
    )
    group = python("socket.socket(F, D).sendto(b'x', ('224.0.0.251', 5353))", "--replay", str(tape))
    assert "Network is unreachable" in group.stderr and "is on no tape" in group.stderr


def test_answers_of_a_function_can_be_recorded(tmp_path: Path) -> None:
    tape = tmp_path / "t"
    argv = [sys.executable, "-c", "import socket; F, D = socket.AF_INET, socket.SOCK_DGRAM\n"]
    argv[-1] += ask("192.0.2.1:7", b"1")
    for options in ({"tape": tape, "datagrams": {AWAY: lambda p, d: b"made up"}}, {"replay": tape}):
        with Net(**options) as net:  # type: ignore[arg-type]
            done = lsca.run(argv, handlers=[net], capture_output=True, text=True)
        assert (done.stdout, done.reports, net.problems) == ("b'made up'\n", [], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"datagrams": 1, "sent": "a"}\n', ":2: no line of a tape"),
        ('{"datagrams": 1, "to": "a:1"}\n{"datagrams": 1, "sent64": "?"}\n', ":3:"),
        ('{"datagrams": 1, "to": "a:1"}\n{"datagrams": 1, "received": "", "from": "b"}\n', ":3:"),
    ],
)
def test_tapes_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"tape": 1}\n' + text)
    done = run("--replay", str(tmp_path / "t"), "true")
    assert done.returncode == 125
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_tape_without_room_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What cannot be recorded is lost, with words, and what comes when there is room again is not."""
    done = run("--tape", "/dev/full", "true")
    assert done.returncode == 125
    assert done.stderr == "lsca: the tape /dev/full cannot be written: No space left on device\n"
    text = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.1", 7))
s.send(b"lost"); s.send(b"there"); print(s.recv(9))
"""
    with Net(tape=tmp_path / "t", datagrams={AWAY: lambda peer, data: data}) as net:
        recorder = net._recorder
        assert recorder is not None
        write, failures = recorder._write, [OSError(28, "No space left on device")]

        def no_room(line: dict[str, object]) -> None:
            if failures:
                raise failures.pop()
            write(line)

        recorder._write = no_room  # type: ignore[method-assign]
        argv = [sys.executable, "-c", text]
        done = lsca.run(argv, handlers=[net], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("b'there'\n", "")
    assert "a datagram is lost: OSError: [Errno 28] No space" in capfd.readouterr().err
