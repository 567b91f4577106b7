# SPDX-License-Identifier: Apache-2.0
"""Brings handlers and a session together: the rules into its memory, its questions to the handlers."""

import contextlib
from collections.abc import Iterator

from lsca.errors import LscaError
from lsca.handlers.dispatch import Handlers

THREADS = 64  # handlers that may be busy at the same time; further callers wait


@contextlib.contextmanager
def served(handlers: Handlers, session: int) -> Iterator[None]:
    """Answers a session's calls as long as the context lasts, with whatever rules the handlers have at the moment."""
    raise LscaError("this build of LSCA cannot serve handlers")
    yield
