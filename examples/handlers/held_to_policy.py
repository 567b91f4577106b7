# SPDX-License-Identifier: Apache-2.0
"""Programs may read everything and write only below /tmp; each denial is said: lsca run -s held_to_policy.py -- make"""

from lsca.services.policy import Policy

policy = Policy(text='[files]\nwrite = ["/tmp/**", "/dev/**"]\n')
