# SPDX-License-Identifier: Apache-2.0
"""Logs of `lsca run -o FILE`: `read_log` gives the records, `text` and `as_json` write one down.

Everything here reads finished files or files that are still growing; writing them is the business of the agent and of
the C extension. A damaged file gives what stands before the damage, and says where that is.
"""

from lsca.log.reader import Header, Log, Record, read_log
from lsca.log.text import Style, as_json, as_text

__all__ = ["Header", "Log", "Record", "Style", "as_json", "as_text", "read_log"]
