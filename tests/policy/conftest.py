# SPDX-License-Identifier: Apache-2.0
"""The fixture that runs a test once per route."""

from differential import route

__all__ = ["route"]
