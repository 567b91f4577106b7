# SPDX-License-Identifier: Apache-2.0
"""Logs of `lsca run -o FILE`: `open_log` opens them, `as_text` and `as_json` write one record down.

Everything here reads finished files or files that are still growing; writing them is the business of the agent and of
the C extension. A damaged file gives what stands before the damage, and says where that is.
"""

from lsca.log.reader import Arrow, Log, open_log, read_log
from lsca.log.record import Gap, Header, Record, Report
from lsca.log.rings import Ring, Waits
from lsca.log.text import Style, as_json, as_text

__all__ = [
    "Arrow",
    "Gap",
    "Header",
    "Log",
    "Record",
    "Report",
    "Ring",
    "Style",
    "Waits",
    "as_json",
    "as_text",
    "open_log",
    "read_log",
]
