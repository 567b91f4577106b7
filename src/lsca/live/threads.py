# SPDX-License-Identifier: Apache-2.0
"""Threads that leave signals alone.

While a program runs, the main thread waits for SIGCHLD and the signals that are to be passed on, and blocks them for
that. A thread in which they are not blocked would take them away, and nobody would learn that the program has ended.
"""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def without_signals() -> Iterator[None]:
    """Blocks all signals as long as the context lasts; threads that begin in it have them blocked for ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
