# SPDX-License-Identifier: Apache-2.0
"""A network that is far away: connections and messages take a while: lsca run -s slow_network.py -- curl ..."""

import lsca
from lsca import calls as c

ROUND_TRIP = 0.1


@lsca.on(c.connect, c.sendto, c.sendmsg, address=":1-65535")
def far(call: c.connect | c.sendto | c.sendmsg) -> lsca.Verdict:
    lsca.sleep(ROUND_TRIP)  # others wait only for themselves
    return lsca.go_on
