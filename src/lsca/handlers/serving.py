# SPDX-License-Identifier: Apache-2.0
"""Brings handlers and a session together: the rules into its memory, its questions to the handlers."""

import contextlib
from collections.abc import Iterator

from lsca import _native
from lsca.handlers.agent import compile_rules
from lsca.handlers.dispatch import Handlers

THREADS = 64  # handlers that may be busy at the same time; further callers wait


def install(handlers: Handlers, session: int) -> None:
    """Puts the rules of `handlers` into force in a session, now and whenever they are replaced. HandlerError."""

    def put() -> None:
        _native.rules_set(session, compile_rules(handlers.rules, deny=handlers.on_error == "deny"))

    def holder(pid: int) -> int:
        for process in _native.session_snapshot(session)["processes"]:
            if process["pid"] == pid and process["proxy"]:
                return process["proxy"]
        return pid

    put()
    handlers.on_replaced = put
    handlers.surroundings.set_holder(holder)


@contextlib.contextmanager
def served(handlers: Handlers, session: int) -> Iterator[None]:
    """Answers a session's calls as long as the context lasts. One whose last program has ended has none to answer."""
    server = None
    try:
        # The launcher seals the memory when nobody else has it any more: a short program may be faster than we are.
        with contextlib.suppress(PermissionError):
            server = _native.serve(session, handlers.answer, threads=THREADS)
        yield
    finally:
        if server is not None:
            server.stop()
        handlers.end()
        handlers.close()
