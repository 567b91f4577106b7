# SPDX-License-Identifier: Apache-2.0
"""Records of connections that went through memory, and of waits, read back in every way that there is."""

from dataclasses import fields, replace
from pathlib import Path

from lsca.log import Ring, Style, Waits, as_text, open_log
from lsca.log.summary import Summary
from segments import STREAM, STREAM_BACK, STREAM_END, WAITS, Call, whole

CLOSE, EXECVE = 3, 59


def stream_end(start: int, sent: int, by: int = CLOSE) -> Call:
    return Call(kind=STREAM_END, start=start, args=(9, by, sent, 2, 3, 4))


def test_what_is_told_of_connections(tmp_path: Path) -> None:
    """The last of several ends counts: an exec has failed after the first one. Ends without a beginning are shown."""
    begun = Call(kind=STREAM, start=2000, args=(9, 5, 0, 77, 1000, 1000))
    back = Call(kind=STREAM_BACK, start=3000, args=(9, 512, 1, 10, 2))
    lonely = replace(stream_end(7000, 1), args=(8, 600, 1, 2, 3, 4))
    waited = Call(kind=WAITS, start=8000, args=(1, 2, 0, 4))
    ends = (stream_end(4000, 10, EXECVE), stream_end(6000, 11))
    path = tmp_path / "a.lsca"
    path.write_bytes(whole(begun, back, *ends, lonely, waited))
    log = open_log(path)
    one, two = log.rings()
    assert (one.connection, one.fd, one.kind, one.peer_pid, one.inode) == (4, 5, "pipe", 77, 1000)
    assert (one.back, one.back_by, one.ended_by) == ("sends", "peer", "close")
    assert (one.sent, one.received, one.kernel_sent, one.kernel_received) == (11, 2, 3, 4)
    assert (two.began_ns, two.ended_by, two.sent) == (None, None, 1)
    assert log.waits() == [Waits(0, 1, 2, 0, 4)]
    names = [field.name for field in fields(Ring) if not field.name.endswith("_ns")]
    asked = log.sql(
        f"SELECT epoch_ns(began), epoch_ns(back_at), epoch_ns(ended), {', '.join(names)} FROM rings ORDER BY began"
    )
    assert asked and asked.fetchall() == [
        (end.began_ns, end.back_ns, end.ended_ns, *(getattr(end, name) for name in names))
        for end in (one, two)
    ]
    style = Style("x86_64", clock="none", pid=False)
    assert [as_text(record, style) for record in log][1:3] == [
        "+++ connection 4: what it sends is the kernel's again by peer, 10 bytes sent and 2 received so far +++",
        "+++ connection 4 ended by execve: 10 bytes sent and 2 received through memory, 3 and 4 before +++",
    ]
    counts = Summary()
    for record in log:
        counts.add(record)
    assert counts.remarks() == [
        "2 ends of connections: 12 bytes sent and 4 received by memory",
        "waits: 1 spun, 2 yielded, 4 woke",
    ]
