# SPDX-License-Identifier: Apache-2.0
"""Which calls of a run may fail, and how: one `Fault` for each call and errno that its row lists."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lsca.log import Log, Record, Style, as_text
from lsca.log.descriptors import Descriptors
from lsca.log.touched import row_of, succeeded
from lsca.table import by_name

LINE: Final = 160  # characters of a call that are shown
STRINGS: Final = 60
# What differs from run to run, and how it is shown.
VARYING: Final = (
    (re.compile(r"[^<>\" ]*/lsca-explore-\w+/\w+/(?:work(?=[/\">])/?|(tmp)(?=[/\">]))"), r"\1"),
    (re.compile(r"(pipe|socket):\[\d+\]"), r"\1"),
    (re.compile(r"\b0x[0-9a-f]{5,}"), "..."),
    (re.compile(r"AT_FDCWD<>"), "AT_FDCWD"),
)
LOCKS: Final = ("F_SETLK", "F_OFD_SETLK")
COMMANDS: Final = {
    "EMFILE": ("F_DUPFD",),
    "EAGAIN": LOCKS,
    "EINTR": LOCKS,
    "ENOLCK": LOCKS,
}  # of fcntl
FILES_ONLY: Final = frozenset({"ENOSPC", "EDQUOT", "EFBIG", "EIO"})
WAITING: Final = frozenset({"EAGAIN", "EINTR"})
STREAM: Final = re.compile(r"<(?:pipe|TCP|UDP|UNIX|NETLINK|socket|anon_inode)\b")
SOCKET: Final = re.compile(r"<(?:TCP|UDP|UNIX|NETLINK|socket|anon_inode)\b")
WRITES: Final = re.compile(r"\bO_(?:CREAT|WRONLY|RDWR)\b")


@dataclass(frozen=True, slots=True)
class Site:
    """One call of a run: the `number`-th of its name, counted in all processes, from 1. `about`: what it touches."""

    name: str
    number: int
    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A site that fails with an errno."""

    site: Site
    error: str

    @property
    def rule(self) -> str:
        """As `lsca run -e` takes it."""
        return f"inject={self.site.name}:error={self.error}:when={self.site.number}:per=session"


def sites(log: Log, only: frozenset[str] | None = None) -> list[Site]:
    """The calls that succeeded and may fail, in order; `only` those of these names."""
    machine, descriptors = log.header.machine, Descriptors(log)
    style = Style(machine, pid=False, clock="none", duration=False, route=False, strings=STRINGS)
    counts: dict[str, int] = {}
    found = []
    for record in log.records(events=False):
        row = row_of(record, machine)
        if row is None:
            continue
        number = counts[row.name] = counts.get(row.name, 0) + 1
        if not row.errors or not succeeded(record) or (only is not None and row.name not in only):
            continue
        file = descriptors.of(record)
        text = shortened(as_text(record, style, file=file))
        found.append(Site(row.name, number, text, about(text)))
    return found


def about(text: str) -> str:
    """What a call is about, by its first arguments: those about the same are tried one after the other, and late."""
    first = text.partition("(")[2].split(", ")
    return ", ".join(first[:2]) if first[0].startswith("AT_FDCWD") else first[0]


def plausible(site: Site, error: str) -> bool:
    """Whether the kernel would give this errno for what the call touches: a pipe is never full of quota, a file that is
    only read is not on a read-only disk."""
    row = by_name(site.name)
    if site.name == "fcntl":
        return any(command in site.text for command in COMMANDS.get(error, ()))
    if site.name.startswith("open") or site.name == "creat":
        writes = WRITES.search(site.text) is not None or site.name == "creat"
        return error != "EINTR" and (writes or error not in ("EROFS", "ENOSPC"))
    if row is None or (row.moves is None and site.name not in ("close", "fsync", "fdatasync")):
        return True
    is_stream = STREAM.search(site.about) is not None
    if error == "EAGAIN":
        return (
            SOCKET.search(site.about) is not None
        )  # whoever reads a pipe has hardly asked not to wait
    if error == "EPIPE" or error in WAITING:
        return is_stream
    return not (is_stream and error in FILES_ONLY)


def shortened(text: str) -> str:
    """One line of a call, without what lines up results or differs from run to run."""
    tidy = " ".join(text.split())
    for pattern, shown in VARYING:
        tidy = pattern.sub(shown, tidy)
    return tidy if len(tidy) <= LINE else f"{tidy[: LINE - 3]}..."


def faults(found: list[Site], errors: dict[str, tuple[str, ...]]) -> list[Fault]:
    """All faults, the most different ones first: the first call about each thing with its likeliest errno, and so on.

    `errors`: by the call's name. The order depends on nothing but the sites.
    """
    turns: dict[tuple[str, str], int] = {}
    by_call: dict[str, list[tuple[int, int, Site]]] = {}
    for place, site in enumerate(found):
        key = site.name, site.about
        turn = turns[key] = turns.get(key, -1) + 1
        by_call.setdefault(site.name, []).append((turn, place, site))
    ranked = []
    for some in by_call.values():
        for late, (_, place, site) in enumerate(sorted(some, key=lambda one: one[:2])):
            meant = [error for error in errors[site.name] if plausible(site, error)]
            for rank, error in enumerate(meant):
                ranked.append(((late + rank, rank, place), Fault(site, error)))
    return [fault for _, fault in sorted(ranked, key=lambda one: one[0])]


def failed(log: Log, fault: Fault) -> Iterator[Record]:
    """The record of the call that was made to fail; none if the run never came so far."""
    number = 0
    for record in log.records({fault.site.name}, events=False):
        if record.name == fault.site.name:
            number += 1
            if number == fault.site.number:
                yield record
                return
