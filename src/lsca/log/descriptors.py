# SPDX-License-Identifier: Apache-2.0
"""What a record's descriptors stood for, before and after its call: `lsca log -y`, `-P`, `tree`, `files` ask here.

The reader works it out from the calls of the log (native/log/resolve.c). What was open before the log began is known if
the log says so.
"""

import re
from dataclasses import replace
from typing import Final

from lsca.log.reader import Log
from lsca.log.record import Record
from lsca.table.text import FileOf

SOCKET: Final = re.compile(r"(TCP|UDP|UNIX|NETLINK|socket):(?!\[#?\d+\]$)(.*)", re.S)


class Descriptors:
    """Asks a log. An answer is a path, or what /proc/PID/fd would have: pipe:[...]; a socket with its addresses."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def of(self, record: Record) -> FileOf:
        """What each descriptor of the record's process stood for."""

        def file(fd: int, after: bool) -> str | None:
            ended = after and record.end_ticks > record.ticks
            when = replace(record, ticks=record.end_ticks + 1) if ended else record
            text = self._log.file(when, fd)
            return text and SOCKET.sub(r"\1:[\2]", text)

        return file
