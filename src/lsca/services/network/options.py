# SPDX-License-Identifier: Apache-2.0
"""The options of `lsca run` that make a `Net`:
--net, --reroute, --resolve, --latency, --bandwidth, --loss, --tape, --replay."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from lsca.errors import HandlerError
from lsca.services.denials import Denials
from lsca.services.network.rules import RuleSet
from lsca.services.network.service import Net

ONCE: Final = ("--latency", "--bandwidth", "--loss", "--tape", "--replay")
NAMES: Final = ("--net", "--reroute", "--resolve", *ONCE)
TIME: Final = re.compile(r"(\d+\.?\d*|\.\d+)(us|ms|s)")
RATE: Final = re.compile(r"(\d+\.?\d*|\.\d+)([kMG]?)(B|bit)?(?:/s)?")
PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)%")
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
FACTORS: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def seconds(text: str) -> float:
    """A time with its unit. HandlerError."""
    found = TIME.fullmatch(text)
    if not found:
        raise HandlerError(f"{text!r} is no time; 50ms, 200us and 1.5s are")
    return float(found[1]) * UNITS[found[2]]


def rate(text: str) -> float:
    """Bytes a second. HandlerError."""
    found = RATE.fullmatch(text)
    if not found or not float(found[1]):
        raise HandlerError(f"{text!r} is no bandwidth; 64k, 1.5M (bytes a second) and 8Mbit are")
    return float(found[1]) * FACTORS[found[2]] / (8 if found[3] == "bit" else 1)


def part(text: str) -> float:
    """A part of 1. HandlerError."""
    found = PART.fullmatch(text)
    if not found or float(found[1]) > 100:
        raise HandlerError(f"{text!r} is no part of a hundred; 5% and 0.1% are")
    return float(found[1]) / 100


def net_of(
    words: Sequence[tuple[str, str]],
    say: Callable[[str], None],
    *,
    policy: RuleSet | None = None,
    denials: Denials | None = None,
    seed: int | None = None,
) -> Net:
    """What the options ask for. HandlerError names the option."""
    rules: list[str] = []
    reroute: dict[str, Any] = {}
    resolve: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, value in words:
        try:
            if name in ONCE and name[2:] in values:
                raise HandlerError("it is given twice")
            if name == "--net":
                rules.append(value)
            elif name == "--reroute":
                place, target = _pair(
                    value, "HOST:PORT=TARGET", "a TARGET is 127.0.0.1:8000, /PATH or @NAME"
                )
                Net(reroute={place: target})
                reroute[place] = target
            elif name == "--resolve":
                place, target = _pair(
                    value, "NAME=ADDR", "ADDR is an address, several with commas, or NXDOMAIN"
                )
                resolve[place] = target.split(",")
                Net(resolve={place: resolve[place]}).check()
            elif name == "--latency":
                values["latency"] = seconds(value)
            elif name == "--bandwidth":
                values["bandwidth"] = rate(value)
            elif name == "--loss":
                values["loss"] = part(value)
            else:
                values[name[2:]] = value
            if name == "--net":
                Net(*rules)
        except HandlerError as error:
            raise HandlerError(f"{name} {value}: {error}") from None
    return Net(
        *rules,
        reroute=reroute,
        resolve=resolve or None,
        say=say,
        policy=policy,
        denials=denials,
        seed=seed or 0,
        **values,
    )


def _pair(value: str, shape: str, more: str) -> tuple[str, str]:
    place, equals, target = value.rpartition("=")
    if not equals or not place or not target:
        raise HandlerError(f"that is written as {shape}; {more}")
    return place, target
