# SPDX-License-Identifier: Apache-2.0
"""`lsca run` with handlers: files of them (-s) and faults (-e). Imported only then."""

import os
import sys
from typing import Any

from lsca.cli.run import Options, finish, session_of
from lsca.handlers.files import Files
from lsca.handlers.reports import to_stderr
from lsca.handlers.rule import Rule
from lsca.live.threads import without_signals
from lsca.services import faults

SEED_BYTES = 4


def run(options: Options) -> int:
    """Runs the program with its handlers in this process. HandlerError if there is something wrong with them."""
    if sys.flags.no_site and any(kind == "-s" for kind, _ in options.sources):
        import site

        site.main()  # handlers may want what is installed
    with (
        without_signals()
    ):  # threads that a file of handlers starts must not take those that are passed on
        files = Files(_sources(options), to_stderr)
    session = session_of(options, handlers=files.rules(), on_error=options.on_error, say=to_stderr)
    handlers = session.handlers
    assert handlers is not None
    files.start(handlers)
    try:
        return finish(session, options, drop=False)
    finally:
        files.stop()
        handlers.close()


def _sources(options: Options) -> list[str | list[Rule[Any]]]:
    texts = [text for kind, text in options.sources if kind == "-e"]
    seed = options.seed
    if seed is None and faults.uses_chance(texts):
        seed = int.from_bytes(os.urandom(SEED_BYTES), "little")
        to_stderr(f"--seed {seed} makes the same choices again")
    rules = iter(faults.rules(*texts, seed=seed))
    return [text if kind == "-s" else [next(rules)] for kind, text in options.sources]
