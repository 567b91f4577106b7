# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests that run programs, with a launcher and with a daemon."""

from differential import route
from preloading import here

__all__ = ["here", "route"]
