# SPDX-License-Identifier: Apache-2.0
"""Connections whose bytes went through memory (docs/streams.md): what the agents have told the log of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lsca.live.address import Address
from lsca.log.record import Record
from lsca.table import Piece, by_number

if TYPE_CHECKING:
    from lsca.log.reader import Log

BY: Final = {512: "peer", 514: "full"}  # native/shared/abi.h: enum stream_by
BACK: Final = {1: "sends", 2: "receives", 3: "both"}
KINDS: Final = {0: "pipe", 1: "unix", 2: "tcp", 10: "tcp"}  # AF_*
WAITS: Final = ("spun", "yielded", "slept", "woke")
TOLD: Final = ("stream", "stream_back", "stream_end", "waits")


@dataclass(slots=True)
class Ring:
    """One end of a connection that went through memory, in one process; the other end has the same `connection`.

    `fd` is its number when it was switched, `kind` tcp, unix or pipe. `local` and `peer` are addresses; where there are
    none, `inode` and `peer_inode` (0: not known) tell them apart. `back` says which ways are the kernel's again
    ("sends", "receives", "both"), `back_by` which call was the reason, or the other end: "peer" that it has gone or
    gone back, "full" that it reads nothing. Times are CLOCK_REALTIME in nanoseconds. `sent` and `received` count the
    process's bytes through memory, `kernel_sent` and `kernel_received` those before, by the kernel. They are None, and
    so are `ended_ns` and `ended_by`, as long as nobody has told: of an end that is still there, or whose process was
    killed.
    """

    run: int
    pid: int
    connection: int
    fd: int | None = None
    kind: str | None = None
    local: str | None = None
    peer: str | None = None
    inode: int | None = None
    peer_inode: int | None = None
    peer_pid: int | None = None
    began_ns: int | None = None
    back_ns: int | None = None
    back: str | None = None
    back_by: str | None = None
    ended_ns: int | None = None
    ended_by: str | None = None
    sent: int | None = None
    received: int | None = None
    kernel_sent: int | None = None
    kernel_received: int | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """How often the programs of a run have waited for another side, by how that ended, and have woken another one."""

    run: int
    spun: int
    yielded: int
    slept: int
    woke: int


def rings(log: "Log") -> list[Ring]:
    """All ends, in the order in which they were switched."""
    machines = [header.machine for header in log.headers]
    found: dict[tuple[int, int, int], Ring] = {}
    for record in log.records((), others=False):
        if record.kind not in TOLD[:3]:
            continue
        key = (record.run, record.pid, record.args[0])
        one = found.get(key)
        if one is None:
            one = found[key] = Ring(record.run, record.pid, record.args[0] >> 1)
        _take(one, record, machines[record.run])
    return list(found.values())


def waits(log: "Log") -> list[Waits]:
    """Of each run that has waited at all, and come to its end."""
    every = log.records((), others=False)
    return [Waits(one.run, *one.args[:4]) for one in every if one.kind == "waits"]


def _take(one: Ring, record: Record, machine: str) -> None:
    args = record.args
    if record.kind == "stream":
        one.fd, one.kind, one.peer_pid = args[1], KINDS.get(args[2]), args[3] or None
        one.local, one.peer = addresses(record)
        one.inode, one.peer_inode = args[4], args[5]
        one.began_ns = record.start_ns
    elif record.kind == "stream_back":
        one.back_ns, one.back_by, one.back = (
            record.start_ns,
            caller(args[1], machine),
            BACK.get(args[2]),
        )
    else:
        one.ended_ns, one.ended_by = record.start_ns, caller(args[1], machine)
        one.sent, one.received, one.kernel_sent, one.kernel_received = args[2:]


def caller(number: int, machine: str) -> str | None:
    """The call that was the reason for something, or another one; None if it is not known."""
    row = by_number(machine, number) if number not in BY else None
    return row.name if row else BY.get(number)


def addresses(record: Record) -> tuple[str | None, str | None]:
    """The two of a record "stream"; None for what has none."""
    local, peer = record.entry.get(1), record.entry.get(2)
    return _address(local), _address(peer)


def _address(piece: Piece | None) -> str | None:
    return str(Address.parse(piece.data)) or None if piece else None


def told(record: Record, machine: str) -> str:
    """One of these records in words."""
    args = record.args
    if record.kind == "waits":
        return "waits: " + ", ".join(f"{n} {how}" for how, n in zip(WAITS, args[:4], strict=True))
    if record.kind == "stream":
        local, peer = addresses(record)
        kind = KINDS.get(args[2], "socket")
        names = f"[{local or args[4]}->{peer or args[5] or '?'}]"
        what = f"descriptor {args[1]}, {kind.upper()}:{names}, to process {args[3]}"
        return f"connection {args[0] >> 1} goes through memory: {what}"
    by = caller(args[1], machine)
    reason = f" by {by}" if by else ""
    if record.kind == "stream_back":
        which = {1: "what it sends", 2: "what it receives"}.get(args[2], "all of it")
        moved = f"{args[3]} bytes sent and {args[4]} received so far"
        return f"connection {args[0] >> 1}: {which} is the kernel's again{reason}, {moved}"
    return (
        f"connection {args[0] >> 1} ended{reason}: {args[2]} bytes sent and {args[3]} received through memory, "
        f"{args[4]} and {args[5]} before"
    )


def fields(record: Record, machine: str) -> dict[str, object]:
    """The same for JSON."""
    args = record.args
    if record.kind == "waits":
        return dict(zip(WAITS, args[:4], strict=True))
    found: dict[str, object] = {"connection": args[0] >> 1}
    if record.kind == "stream":
        local, peer = addresses(record)
        found |= {"fd": args[1], "socket": KINDS.get(args[2]), "local": local, "peer": peer}
        return found | {"peer_pid": args[3], "inode": args[4], "peer_inode": args[5]}
    found["by"] = caller(args[1], machine)
    if record.kind == "stream_back":
        return found | {"back": BACK.get(args[2]), "sent": args[3], "received": args[4]}
    names = ("sent", "received", "kernel_sent", "kernel_received")
    return found | dict(zip(names, args[2:], strict=True))
