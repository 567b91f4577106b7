# SPDX-License-Identifier: Apache-2.0
"""The fixtures of a daemon with programs that bring the agent along."""

from preloading import here, place

__all__ = ["here", "place"]
