# SPDX-License-Identifier: Apache-2.0
"""Who and where programs think they are, and which random numbers they get: the same on every machine, every time.

    hostname("build-1")
    user("alice", 1234)
    randomness(7)

Nothing is really changed: rights, owners of files and the kernel's random numbers stay what they are.
"""

import random
import re
import struct
import threading
from pathlib import Path
from typing import Any, Final

import lsca
from lsca import calls as c
from lsca.errors import HandlerError
from lsca.handlers.rule import noted

NAME_SIZE: Final = 65  # of each member of struct utsname
NODE: Final = 1  # the second of them
RANDOM_MOST: Final = 1 << 20  # bytes at once; getrandom may return less than was asked for
ID_MOST: Final = (1 << 32) - 2
HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


class Group:
    """Several rules as one thing to hand on."""

    def __init__(self, *rules: "lsca.Rule[Any]") -> None:
        self.__lsca_rules__ = list(rules)


def hostname(name: str) -> Group:
    """What uname, gethostname and /proc/sys/kernel/hostname say. HandlerError."""
    made = _hostname(name)
    noted(made.__lsca_rules__)
    return made


def user(name: str, uid: int = 1000, gid: int | None = None) -> Group:
    """The user and group that programs run as, as far as they ask; with a line in /etc/passwd and /etc/group. The group
    has the number of the user if nothing is said. HandlerError."""
    made = _user(name, uid, uid if gid is None else gid)
    noted(made.__lsca_rules__)
    return made


def randomness(seed: int) -> Group:
    """getrandom, /dev/random and /dev/urandom give the same numbers for the same seed.

    Each process has a sequence of its own: by its arguments, and how many with the same ones there were before. So what
    processes do at the same time does not change what each of them gets.
    """
    made = Group(*_Randomness(seed).rules())
    noted(made.__lsca_rules__)
    return made


def option(name: str, value: str, state: str | None = None) -> Group:
    """`--hostname NAME` and `--user NAME[:UID[:GID]]` of the command line. HandlerError."""
    if name == "--hostname":
        return _hostname(value)
    who, *ids = value.split(":")
    if len(ids) > 2 or not all(one.isascii() and one.isdigit() for one in ids):
        raise HandlerError(f"{name} {value}: what is wanted is NAME, NAME:UID or NAME:UID:GID")
    numbers = [int(one) for one in ids] or [1000]
    return _user(who, numbers[0], numbers[-1])


# ---- names ----------------------------------------------------------------------------------------------------------


def _hostname(name: str) -> Group:
    if not HOST.fullmatch(name):
        raise HandlerError(
            f"{name!r} is no name of a machine: up to 64 letters, digits, dots and dashes"
        )

    def node(call: Any) -> lsca.Verdict:
        if call.proceed() == 0:
            data = bytearray(call.buf)
            data[NODE * NAME_SIZE : (NODE + 1) * NAME_SIZE] = name.encode().ljust(NAME_SIZE, b"\0")
            call.fill(buf=bytes(data))
        return lsca.go_on

    rule: lsca.Rule[Any] = lsca.on(c.uname)
    rule(node)
    return Group(rule, _text("/proc/sys/kernel/hostname", f"{name}\n"))


def _user(name: str, uid: int, gid: int) -> Group:
    if not USER.fullmatch(name):
        raise HandlerError(
            f"{name!r} is no name of a user: up to 32 letters, digits, dots and dashes"
        )
    for number in (uid, gid):
        if not 0 <= number <= ID_MOST:
            raise HandlerError(
                f"{number} is no number of a user or group: from 0 to {ID_MOST} there are"
            )

    def three(number: int, *names: str) -> Any:
        def handler(call: Any) -> lsca.Verdict:
            call.fill(**{one: struct.pack("<I", number) for one in names})
            return lsca.ret(0)

        return handler

    users: lsca.Rule[Any] = lsca.on(c.getresuid)
    users(three(uid, "ruid", "euid", "suid"))
    groups: lsca.Rule[Any] = lsca.on(c.getresgid)
    groups(three(gid, "rgid", "egid", "sgid"))
    more: lsca.Rule[Any] = lsca.on(c.getgroups)

    def only(call: Any) -> lsca.Verdict:
        if call.size:
            call.fill(list=struct.pack("<I", gid))
        return lsca.ret(1)

    more(only)
    return Group(
        lsca.on(c.getuid, c.geteuid).ret(uid),
        lsca.on(c.getgid, c.getegid).ret(gid),
        users,
        groups,
        more,
        _text(
            "/etc/passwd", _with("/etc/passwd", name, uid, f":x:{uid}:{gid}::/home/{name}:/bin/sh")
        ),
        _text("/etc/group", _with("/etc/group", name, gid, f":x:{gid}:")),
    )


def _with(path: str, name: str, number: int, rest: str) -> str:
    """A file of users or groups with this line, and no other of the same name or number."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        lines = []
    others = [
        line
        for line in lines
        if name != line.split(":")[0] and [str(number)] != line.split(":")[2:3]
    ]
    return "\n".join([*others, name + rest, ""])


def _text(path: str, content: str) -> "lsca.Rule[Any]":
    """What is read when the file is opened; a new descriptor each time."""
    rule: lsca.Rule[Any] = lsca.on(c.open, c.openat, c.openat2, path=path)
    rule(lambda call: lsca.file(content))
    return rule


# ---- random numbers -------------------------------------------------------------------------------------------------


class _Randomness:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._begun: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def rules(self) -> "list[lsca.Rule[Any]]":
        call: lsca.Rule[Any] = lsca.on(c.getrandom)
        call(self._get)
        device: lsca.Rule[Any] = lsca.on("read,pread64,readv,preadv,preadv2", path="/dev/*random")
        device(self._read)
        return [call, device]

    def _numbers(self, call: Any) -> random.Random:
        known = call.process.state.get(self)
        if known is None:
            argv = tuple(call.process.argv)
            with self._lock:
                known = call.process.state.get(self)
                if known is None:
                    nth = self._begun[argv] = self._begun.get(argv, 0) + 1
                    known = random.Random(f"{self.seed} {nth} {argv}")
                    call.process.state[self] = known
        return known  # type: ignore[no-any-return]

    def _get(self, call: Any) -> lsca.Verdict:
        size = min(call.buflen, RANDOM_MOST)
        return lsca.ret(call.fill(buf=self._numbers(call).randbytes(size)))

    def _read(self, call: Any) -> lsca.Verdict:
        size = call.proceed()  # what can be read is the kernel's to say; what it is, is not
        if size > 0:
            call.fill(buf=self._numbers(call).randbytes(size))
        return lsca.go_on
