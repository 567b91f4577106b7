# SPDX-License-Identifier: Apache-2.0
"""Directories without the names that end in ~: lsca run -s without_backups.py -- ls"""

import lsca
from lsca import calls as c

NAME_AT = 19  # in a struct linux_dirent64, behind inode, offset, length and type


@lsca.on(c.getdents64)
def entries(call: c.getdents64) -> lsca.Verdict:
    size = call.proceed()
    data, kept, at = bytes(call.dirp), b"", 0
    while at < size:
        length = int.from_bytes(data[at + 16 : at + 18], "little")
        if not data[at + NAME_AT : at + length].rstrip(b"\0").endswith(b"~"):
            kept += data[at : at + length]
        at += length
    if not kept:  # 0 would be the end of the directory
        return lsca.go_on
    call.fill(dirp=kept)
    return lsca.ret(len(kept))
