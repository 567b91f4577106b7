# SPDX-License-Identifier: Apache-2.0
"""A file that is not there, for whoever asks: lsca run -s hidden_file.py -- cat /etc/hostname"""

import lsca
from lsca import calls as c


@lsca.on(c.open, c.openat, c.openat2, path="/etc/hostname")
def hidden(call: c.open | c.openat | c.openat2) -> lsca.Verdict:
    return lsca.fail("ENOENT")


# Whether it is there can be asked without opening it.
lsca.on("%%stat,access,faccessat,faccessat2", path="/etc/hostname").fail("ENOENT")
