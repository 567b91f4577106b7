# SPDX-License-Identifier: Apache-2.0
"""The network that programs find: refused by rule, led elsewhere, answered by Python, slow, recorded, or played again.

`Net` is all of it, a handler for `lsca.run`; `options.py` makes one of the options of `lsca run`.
"""

from lsca.services.network.rules import What, rule_set, what
from lsca.services.network.service import Net
from lsca.services.network.stream import Stream

__all__ = ["Net", "Stream", "What", "rule_set", "what"]
