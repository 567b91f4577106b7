# SPDX-License-Identifier: Apache-2.0
"""A machine with another name: lsca run -s other_host.py -- uname -n"""

import lsca
from lsca import calls as c


@lsca.on(c.uname)
def elsewhere(call: c.uname) -> lsca.Verdict:
    call.proceed()
    call.fill(buf={"nodename": b"elsewhere"})
    return lsca.go_on
