# SPDX-License-Identifier: Apache-2.0
"""`lsca run` with handlers: files of them (-s), faults (-e), and services. Imported only then."""

import atexit
import contextlib
import importlib
import os
import sys
from typing import Any

from lsca import _native
from lsca.cli.run import SERVICES, Options, finish, session_of
from lsca.errors import UsageError
from lsca.handlers.files import Files
from lsca.handlers.reports import to_stderr
from lsca.handlers.rule import Rule, rules_of
from lsca.live.threads import without_signals
from lsca.services import faults

SEED_BYTES = 4
Source = str | list[Rule[Any]]


def run(options: Options) -> int:
    """Runs the program with its handlers in this process. HandlerError if there is something wrong with them."""
    if sys.flags.no_site and any(kind == "-s" for kind, _ in options.sources):
        import site

        site.main()  # handlers may want what is installed
    services: list[Any] = []
    with contextlib.ExitStack() as stack:
        with (
            without_signals()
        ):  # threads that a file of handlers starts must not take those that are passed on
            seed = _seed(options)
            sources = _sources(options, services, seed)
            if options.services:
                sources.append(_network_and_policy(options, seed))
            files = Files(sources, to_stderr)
        for service in services:
            stack.callback(getattr(service, "close", int))
        _enter(options, services)
        careful = any(getattr(one, "must_be_asked", False) for one in services)
        on_error = options.on_error or ("deny" if careful else "go_on")
        session = session_of(options, handlers=files.rules(), on_error=on_error, say=to_stderr)
        handlers = session.handlers
        assert handlers is not None
        files.start(handlers)
        stack.callback(handlers.close)
        stack.callback(files.stop)

        def end() -> None:
            handlers.end()
            if any(one["alive"] for one in _native.session_snapshot(session.fd)["processes"]):
                handlers.replace(_without(files.rules(), services))
            stack.close()
            atexit._run_exitfuncs()  # of files of handlers: nobody else will run them

        return finish(session, options, drop=False, end=end)


def _seed(options: Options) -> int | None:
    """What all choices by chance depend on; said, if the user has not."""
    texts = [text for kind, text in options.sources if kind == "-e"]
    lossy = any(name == "--loss" for name, _ in options.services)
    seed = options.seed
    if seed is None and (lossy or faults.uses_chance(texts)):
        seed = int.from_bytes(os.urandom(SEED_BYTES), "little")
        to_stderr(f"--seed {seed} makes the same choices again")
    return seed


def _network_and_policy(options: Options, seed: int | None) -> list[Rule[Any]]:
    """The rules of --net and its like, and of a policy, which comes last."""
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
        rules += rules_of(net_of(words, to_stderr, policy=allowed, denials=denials, seed=seed))
    if policy is not None:
        rules += policy.rules()
    return rules


def _sources(options: Options, services: list[Any], seed: int | None) -> list[Source]:
    """All that has rules, in the order of the command line; `services` gets the objects behind them."""
    texts = [text for kind, text in options.sources if kind == "-e"]
    rules = iter(faults.rules(*texts, seed=seed))
    found: list[Source] = []
    for kind, text in options.sources:
        if kind == "-e":
            found.append([next(rules)])
        elif kind == "-s":
            found.append(text)
        else:
            module = importlib.import_module(f"lsca.services.{SERVICES[kind]}")
            service = module.option(kind, text, options.state)
            services.append(service)
            found.append(rules_of(service))
    if options.seed is not None:
        from lsca.services import identity

        found.append(rules_of(identity.randomness(options.seed)))
    return found


def _without(rules: list[Rule[Any]], services: list[Any]) -> list[Rule[Any]]:
    """The rules that programs in the background need when nobody will answer: services make themselves dispensable."""
    dispensable = []
    for service in services:
        if hasattr(service, "go_on_without"):
            service.go_on_without()
            dispensable += [rule for rule in rules_of(service) if rule.effects.handler is not None]
    return [rule for rule in rules if not any(rule is one for one in dispensable)]


def _enter(options: Options, services: list[Any]) -> None:
    """The program begins where it will find itself: its own file and its directory may be virtual."""
    word = options.program[0]
    for backing in [one.backing for one in services if hasattr(one, "backing")]:
        here = os.getcwd()
        if backing.real(here) != here:
            os.chdir(backing.real(here))
        places = [word] if "/" in word else [f"{part}/{word}" for part in _search_path()]
        for place in places:
            path = os.path.normpath(os.path.join(here, place))
            real = backing.prepare(path)
            if real == path and os.access(path, os.X_OK):
                break  # it comes first, and is no other than it seems
            if real != path and os.access(real, os.X_OK):
                if place.startswith("/") or "/" not in word:
                    options.program[0] = real
                return


def _search_path() -> list[str]:
    return os.environ.get("PATH", os.defpath).split(":")
