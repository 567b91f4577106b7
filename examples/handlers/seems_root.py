# SPDX-License-Identifier: Apache-2.0
"""A program that believes it is root, and may do no more than before: lsca run -s seems_root.py -- id -u"""

import lsca

lsca.on("getuid,geteuid,getgid,getegid").ret(0)
lsca.on("chown,fchown,lchown,fchownat").ret(0)  # as if it had worked
