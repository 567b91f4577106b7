# SPDX-License-Identifier: Apache-2.0
"""No network but this machine's, and a name for it: lsca run -s own_machine_only.py -- curl http://me.test:8000/"""

from lsca.services.network import Net

net = Net("loopback", resolve={"me.test": "127.0.0.1", "*": "NXDOMAIN"})
