# SPDX-License-Identifier: Apache-2.0
"""A disk that takes a tenth of a second for each write below /tmp: lsca run -s slow_disk.py -- cp a /tmp/b"""

import lsca

lsca.on("write,pwrite64,writev,copy_file_range", path="/tmp/**").sleep(0.1)
lsca.on("fsync,fdatasync", path="/tmp/**").sleep(0.5)
