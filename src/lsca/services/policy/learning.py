# SPDX-License-Identifier: Apache-2.0
"""Writes a policy from logs: what programs have done is what they may do, said a little more generally.

Temporary files, process numbers, versions and hashes within paths become `*`; many files of one directory, the
directory; what is below the home is written `~/`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lsca.live.address import Address
from lsca.log import Log, Record
from lsca.log.descriptors import Descriptors
from lsca.log.touched import named_of, row_of, succeeded
from lsca.services.policy.deciding import CHANGES, CREATES, EXECS, PAIRS

MANY: Final = 4  # files of a directory that become the directory
SYSTEM: Final = ("/usr/lib", "/usr/share", "/usr/include", "/usr/libexec", "/lib", "/lib64")
TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")
VERSION: Final = re.compile(r"\d+(?:\.\d+)+|(?<=[a-z-])\d+(?=/|$|[-.])")
HASH: Final = re.compile(r"(?<![0-9a-z])(?=[0-9a-f]*\d)[0-9a-f]{8,}(?![0-9a-z])")
PROCESS: Final = re.compile(r"^/proc/\d+(?=/|$)")
TASK: Final = re.compile(r"(?<=/task/)\d+")
INPROGRESS: Final = -115
SPECIAL: Final = re.compile(r"([*?\[\\])")
EPHEMERAL: Final = 32768  # ports from here on are anybody's, and differ from run to run


@dataclass
class Learned:
    """What was done: absolute paths by kind, addresses, and how many calls say so."""

    read: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)
    exec: set[str] = field(default_factory=set)
    connect: set[str] = field(default_factory=set)
    bind: set[str] = field(default_factory=set)
    calls: int = 0

    def add(self, log: Log) -> None:
        """All that one log has."""
        machine = log.header.machine
        names = {
            *("open", "openat", "openat2", "creat", "connect", "bind", "sendto"),
            *(name.lstrip("?") for part in (CHANGES, PAIRS, EXECS) for name in part.split(",")),
        }
        descriptors = Descriptors(log)
        for record in log.records(names=names):
            row = row_of(record, machine)
            if row is None:
                continue
            if row.name in ("connect", "bind", "sendto"):
                self._address(record, row)
                continue
            done = succeeded(record) or (row.name in EXECS.split(",") and not record.returns)
            if not done:
                continue
            self.calls += 1
            named = [one.path for one in named_of(record, machine, descriptors.of(record))]
            if row.name.startswith("symlink"):
                named = named[-1:]
            for path in named:
                if path.startswith("/"):
                    for kind in _kinds(record, row, machine):
                        getattr(self, kind).add(path)

    def _address(self, record: Record, row: type[Any]) -> None:
        if not succeeded(record) and record.ret != INPROGRESS:
            return
        data = next((p.data for p in record.entry.values() if _is_address(p.data)), None)
        if data is None:
            return
        address = Address.parse(data)
        self.calls += 1
        if row.name == "bind":
            if address.path or address.port:
                self.bind.add(str(address))
        elif address.path or address.port:
            self.connect.add(str(address))


def _is_address(data: bytes) -> bool:
    return len(data) >= 2 and Address.parse(data).family in (1, 2, 10)


def _kinds(record: Record, row: type[Any], machine: str) -> Iterator[str]:
    if row.name in EXECS.split(","):
        yield "exec"
    elif row.name in ("open", "openat", "openat2"):
        if row.name == "openat2":
            data = record.entry[row.order[machine].index("how")].data
            flags = int.from_bytes(data[:8], "little")
        else:
            flags = record.args[row.order[machine].index("flags")]
        way = flags & os.O_ACCMODE
        if way != os.O_WRONLY and not flags & CREATES:
            yield "read"
        if way in (os.O_WRONLY, os.O_RDWR) or flags & CREATES:
            yield "write"
    else:
        yield "write"


def general(path: str, home: str = "") -> str:
    """A path as a pattern that also fits the next run."""
    home = home or os.path.expanduser("~")
    for place in TEMPORARY:
        if path.startswith(place + "/"):
            return f"{place}/**"
    path = SPECIAL.sub(r"\\\1", path)
    path = PROCESS.sub("/proc/*", path)
    path = TASK.sub("*", path)
    path = HASH.sub("*", path)
    directory, slash, name = path.rpartition("/")
    path = VERSION.sub("*", directory) + slash + VERSION.sub("*", name)
    if home != "/" and path.startswith(home + "/"):
        path = "~" + path[len(home) :]
    return path


def patterns(paths: Iterable[str], home: str = "", *, system: bool = True) -> list[str]:
    """Paths as few patterns. `system`: what packages have installed is said by its directory."""
    found: set[str] = set()
    beside: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        place = next((one for one in SYSTEM if path == one or path.startswith(one + "/")), "")
        if system and place:
            found |= {place, f"{place}/**"} if path == place else {f"{place}/**"}
            continue
        pattern = general(path, home)
        if pattern.endswith("/**"):
            found.add(pattern)
        else:
            beside[pattern.rpartition("/")[0]].add(pattern)
    for directory, ones in beside.items():
        if len(ones) > MANY and directory.count("/") > 1:
            found.add(f"{directory}/*")
        else:
            found |= ones
    return sorted(one for one in found if not _is_covered(one, found))


def _is_covered(one: str, found: set[str]) -> bool:
    """Another pattern says the same and more."""
    return any(
        other != one and other.endswith("/**") and one.startswith(other.removesuffix("**"))
        for other in found
    )


def addresses(found: Iterable[str]) -> list[str]:
    """Addresses as rules: ports that differ from run to run become all ports of the host."""
    result = set()
    for text in found:
        if text.startswith(("/", "@")):
            result.add(general(text) if text.startswith("/") else text)
            continue
        host, _, port = text.rpartition(":")
        result.add(f"{host}:{port if int(port) < EPHEMERAL else '*'}")
    return sorted(result)


def policy(learned: Learned, what: str) -> str:
    """The policy as TOML. `what` says from where."""
    lines = [
        f"# Learned by `lsca learn` from {what}.",
        "# What is not listed is denied; `lsca learn --check` shows what a run would miss.",
        "",
        "[files]",
        'default = "deny"',
        *_list("read", patterns(learned.read)),
        *_list("write", patterns(learned.write, system=False)),
        "",
        "[processes]",
        'default = "deny"',
        *_list("allow", patterns(learned.exec, system=False)),
        "",
        "[network]",
        'default = "deny"',
        *_list("allow", addresses(learned.connect)),
        *_list("bind", addresses(learned.bind)),
    ]
    return "\n".join(lines) + "\n"


def _list(name: str, values: list[str]) -> list[str]:
    if not values:
        return [f"{name} = []"]
    return [f"{name} = [", *(f"    {_quoted(value)}," for value in values), "]"]


def _quoted(text: str) -> str:
    """A TOML string, on one line."""
    if "'" not in text and "\\" in text and text.isprintable():
        return f"'{text}'"
    escaped = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(ch if ch.isprintable() else f"\\u{ord(ch):04x}" for ch in escaped) + '"'
