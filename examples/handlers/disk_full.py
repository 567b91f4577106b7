# SPDX-License-Identifier: Apache-2.0
"""A disk with room for one mebibyte more: lsca run -s disk_full.py -- dd if=/dev/zero of=/tmp/big bs=64k"""

import lsca

lsca.on("write,pwrite64", path="/tmp/**").fail("ENOSPC", after_bytes=1 << 20)
lsca.on("fallocate,copy_file_range", path="/tmp/**").fail("EOPNOTSUPP")  # programs then write
