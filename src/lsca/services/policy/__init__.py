# SPDX-License-Identifier: Apache-2.0
"""A policy: what a program may do, in a file of TOML; each denial says which rule refused which call of which process.

`Policy` is a handler for `lsca.run`; `lsca run --policy FILE` uses it. `learning.py` writes one from logs.
Not a security boundary: program and agent share an address space, and paths are compared by their text.
"""

from lsca.services.policy.deciding import Policy
from lsca.services.policy.reading import PolicyError
from lsca.services.policy.schema import SCHEMA

__all__ = ["SCHEMA", "Policy", "PolicyError"]
