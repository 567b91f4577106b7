# SPDX-License-Identifier: Apache-2.0
"""Refuses the eleventh file that one process opens: notes about a process end with it."""

import lsca
from lsca import calls as c

LIMIT = 10


@lsca.on(c.openat, flags="O_RDONLY")
def limited(call: c.openat) -> lsca.Verdict:
    notes = call.process.state
    notes["opened"] = notes.get("opened", 0) + 1
    return lsca.go_on if notes["opened"] <= LIMIT else lsca.fail("EMFILE")
