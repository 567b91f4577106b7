# SPDX-License-Identifier: Apache-2.0
"""`lsca run` with handlers: files of them (-s) and faults (-e). Imported only then."""

import random
import sys
from typing import Any

from lsca.cli.run import Options, finish, session_of
from lsca.errors import UsageError
from lsca.handlers.files import Files
from lsca.handlers.reports import to_stderr
from lsca.handlers.rule import Rule, rules_of
from lsca.live.threads import without_signals
from lsca.services import faults

SEED_BITS = 32


def run(options: Options) -> int:
    """Runs the program with its handlers in this process. HandlerError if there is something wrong with them."""
    if sys.flags.no_site:
        import site

        site.main()  # handlers may want what is installed
    with (
        without_signals()
    ):  # threads that a file of handlers starts must not take those that are passed on
        sources = _sources(options)
        if options.services:
            sources.append(_services(options))
        files = Files(sources, to_stderr)
    session = session_of(options, handlers=files.rules(), on_error=options.on_error, say=to_stderr)
    handlers = session.handlers
    assert handlers is not None
    files.start(handlers)
    try:
        return finish(session, options, drop=False, ended=handlers.end)
    finally:
        files.stop()
        handlers.close()


def _services(options: Options) -> list[Rule[Any]]:
    """The rules of the services that are asked for. The policy comes last."""
    policy = None
    paths = [value for name, value in options.services if name == "--policy"]
    if len(paths) > 1:
        raise UsageError("--policy is given twice; a run has one policy")
    if paths:
        from lsca.services.policy import Policy

        policy = Policy(paths[0])
    words = [(name, value) for name, value in options.services if name != "--policy"]
    rules: list[Rule[Any]] = []
    if words or (policy is not None and policy.network):
        from lsca.services.network.options import net_of

        allowed = policy.network if policy is not None else None
        denials = policy.denials if policy is not None else None
        rules += rules_of(net_of(words, to_stderr, policy=allowed, denials=denials))
    if policy is not None:
        rules += policy.rules()
    return rules


def _sources(options: Options) -> list[str | list[Rule[Any]]]:
    texts = [text for kind, text in options.sources if kind == "-e"]
    seed = options.seed
    if seed is None and faults.uses_chance(texts):
        seed = random.SystemRandom().getrandbits(SEED_BITS)
        to_stderr(f"--seed {seed} makes the same choices again")
    rules = iter(faults.rules(*texts, seed=seed))
    return [text if kind == "-s" else [next(rules)] for kind, text in options.sources]
