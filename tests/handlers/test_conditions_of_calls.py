# SPDX-License-Identifier: Apache-2.0
"""Rules that end the search, pointers that must be given, flags that must not be set, and protocols of sockets: the
same whether the agent decides or Python does.
"""

import pytest

import lsca
from lsca import calls as c
from lsca.errors import HandlerError

OPENS = "cat /etc/hostname >/dev/null && echo one; cat /etc/motd >/dev/null && echo two"
SENDS = """
import socket
a, b = socket.socketpair(); a.send(b"x"); a.sendmsg([b"y"])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b"z", ("127.0.0.1", 9)); u.sendmsg([b"v"], [], 0, ("127.0.0.1", 9))
"""


def out(words: list[str], *handlers: object, route: str) -> str:
    done = lsca.run(words, handlers=list(handlers), route=route, capture_output=True, text=True)
    assert done.reports == []
    return done.stdout


def python(call: c.openat) -> bool:
    return True


@pytest.mark.parametrize("predicate", [None, python])
def test_go_on_ends_the_search(predicate: object, route: str) -> None:
    when = {"when": predicate} if predicate else {}
    first = lsca.on("openat", path="/etc/hostname", **when).go_on()  # type: ignore[call-overload]
    rest = lsca.on("openat", path="/etc/[hm]o*").fail("EACCES")
    assert out(["sh", "-c", OPENS], first, rest, route=route) == "one\n"
    assert out(["sh", "-c", OPENS], rest, first, route=route) == ""


def test_flags_that_are_not_set(route: str) -> None:
    rule = lsca.on("openat", path="/tmp/lsca-not-*", flags="O_WRONLY|!O_APPEND").fail("EPERM")
    text = "echo a >> /tmp/lsca-not-$$ && echo one; echo b > /tmp/lsca-not-$$ || echo two; rm -f /tmp/lsca-not-$$"
    assert out(["sh", "-c", text], rule, route=route) == "one\ntwo\n"
    with pytest.raises(HandlerError, match="O_APEND"):
        lsca.on("openat", flags="!O_APEND")


def test_pointers_that_are_given(route: str) -> None:
    seen = []

    @lsca.on(c.sendto, given="dest_addr")
    def to(call: c.sendto) -> lsca.Verdict:
        seen.append((bytes(call.buf), call.file.protocol, str(call.dest_addr)))
        return lsca.go_on

    @lsca.on(c.sendmsg, given="msg")
    def message(call: c.sendmsg) -> lsca.Verdict:
        seen.append((bytes(call.msg), call.file.protocol, ""))
        return lsca.go_on

    out(["python3", "-c", SENDS], to, message, route=route)
    assert seen == [(b"z", "UDP", "127.0.0.1:9"), (b"v", "UDP", "")]
    with pytest.raises(HandlerError, match="given= has no meaning for read"):
        lsca.on(c.read, given="dest_addr")
