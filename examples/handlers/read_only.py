# SPDX-License-Identifier: Apache-2.0
"""Nothing below a directory changes: READ_ONLY=/srv/repo lsca run -s read_only.py -- git -C /srv/repo commit -m x"""

import os

import lsca

BELOW = os.environ.get("READ_ONLY", "/srv") + "/**"

lsca.on("open,openat,openat2", path=BELOW, flags="O_CREAT").fail("EROFS")
lsca.on("open,openat,openat2", path=BELOW, flags="O_WRONLY").fail("EROFS")
lsca.on("open,openat,openat2", path=BELOW, flags="O_RDWR").fail("EROFS")
lsca.on(
    "/^(unlink|mkdir|rmdir|rename|link|symlink|truncate|mknod|utimensat|f?chmod|l?chown)",
    path=BELOW,
).fail("EROFS")
