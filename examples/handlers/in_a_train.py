# SPDX-License-Identifier: Apache-2.0
"""A network as in a train: lsca run -s in_a_train.py -- git fetch"""

from lsca.services.network import Net

net = Net(latency=0.15, bandwidth=64_000)
