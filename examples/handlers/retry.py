# SPDX-License-Identifier: Apache-2.0
"""Every third read is interrupted, as signals do it; a program that does not try again loses data."""

import lsca

lsca.on("read", count="3+3", per="process").fail("EINTR")
lsca.on("read", count="2+5", per="process").cut(1)
