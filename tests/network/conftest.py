# SPDX-License-Identifier: Apache-2.0
"""The fixtures of networking.py."""

from networking import client, echo, net, route, unix_echo

__all__ = ["client", "echo", "net", "route", "unix_echo"]
