# SPDX-License-Identifier: Apache-2.0
"""A disk that cannot promise anything: lsca run -s broken_sync.py -- sqlite3 a.db 'create table t(x)'"""

import lsca

lsca.on("fsync,fdatasync,sync_file_range,msync").fail("EIO")
