# SPDX-License-Identifier: Apache-2.0
"""Ends whoever deletes what must stay: GUARD='*.key' lsca run -s guard.py -- rm -f my.key"""

import os

import lsca

lsca.on("unlink,unlinkat,rename,renameat,renameat2", path=os.environ.get("GUARD", "*.key")).kill()
