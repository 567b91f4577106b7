# SPDX-License-Identifier: Apache-2.0
"""Handlers: a few lines of Python that answer, change, fail, delay or only watch a program's calls.

What users need of this is exported by `lsca` itself. `conditions` says which calls, `verdicts` what may be answered,
`rule` puts the two together, `dispatch` asks them about a call.
"""

from lsca.handlers.dispatch import Handlers, sleep
from lsca.handlers.reports import Report
from lsca.handlers.rule import Rule, on, rules_of
from lsca.handlers.verdicts import Verdict, fail, file, go_on, kill, ret

__all__ = [
    "Handlers",
    "Report",
    "Rule",
    "Verdict",
    "fail",
    "file",
    "go_on",
    "kill",
    "on",
    "ret",
    "rules_of",
    "sleep",
]
