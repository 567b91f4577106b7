# SPDX-License-Identifier: Apache-2.0
"""Says which programs are started, by whom, and with which words: lsca run -s say_programs.py -- git status"""

import shlex
import sys

import lsca
from lsca import calls as c


@lsca.on(c.execve)
def starts(call: c.execve) -> lsca.Verdict:
    print(f"{call.process.name}[{call.process.pid}]: {shlex.join(call.argv)}", file=sys.stderr)
    return lsca.go_on
