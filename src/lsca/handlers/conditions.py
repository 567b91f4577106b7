# SPDX-License-Identifier: Apache-2.0
"""Which calls a rule is about: patterns for paths, addresses, flags, descriptors and processes, and counting.

Each has one meaning, whether the agent decides (`lsca.rules`, native/shared/rules.h) or Python does. Made from what the
user wrote, once, and wrong ones are refused then.
"""

import _socket as socket  # as in lsca.live.address
import itertools
import os
import re
import threading
from collections.abc import Iterable
from typing import Final, NamedTuple

from lsca.errors import HandlerError, near
from lsca.live.address import Address
from lsca.table import Syscall
from lsca.table.arguments import Kind
from lsca.table.constants import Flags
from lsca.table.live import MACHINE

WORD: Final = (1 << 64) - 1
POINTER: Final = 8  # bytes
PORT_MAX: Final = 0xFFFF
FAMILY_BITS: Final = {socket.AF_INET: 32, socket.AF_INET6: 128}
WHEN: Final = re.compile(r"(?P<first>\d+)(?:\.\.(?P<last>\d+))?(?P<plus>\+(?P<step>\d*))?")
WHEN_MAX: Final = 65535
OPERATIONS: Final = ("futex_op",)  # which hold flags beside an operation's number
# [HOST]:PORTS with its brackets, HOST:PORTS, or a HOST alone
WHERE: Final = re.compile(
    r"(?:\[(?P<six>[^]]*)\]|(?P<host>[^:/]*))(?P<net>/\d+)?(?::(?P<low>\d+|\*)(?:-(?P<high>\d+))?)?"
)


def glob_text(pattern: str) -> str:
    """A pattern from the root on: one that does not begin there may begin anywhere."""
    if not pattern:
        raise HandlerError("an empty path pattern matches nothing")
    return pattern if pattern.startswith(("/", "**")) else f"**/{pattern}"


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern for a path, to be matched with all of it."""
    return glob_expression(glob_text(pattern))


def glob_expression(text: str) -> re.Pattern[str]:
    """`*` and `?` stay within one component, `**` does not, [a-z] is one character, `\\` takes the next as it is."""
    parts, at = [], 0
    while at < len(text):
        rest = text[at:]
        starts = at == 0 or text[at - 1] == "/"
        found = _one_of(rest) if rest[0] == "[" else None
        if rest.startswith("**/") and starts:
            parts.append("(?:.*/)?")
            at += 3
        elif rest.startswith("**"):
            parts.append(".*")
            at += 2
        elif rest[0] in "*?":
            parts.append("[^/]*" if rest[0] == "*" else "[^/]")
            at += 1
        elif found is not None:
            parts.append(found[0])
            at += found[1]
        else:
            at += rest[0] == "\\" and len(rest) > 1
            parts.append(re.escape(text[at]))
            at += 1
    return re.compile("".join(parts), re.DOTALL)


def _one_of(text: str) -> tuple[str, int] | None:
    """[abc], [a-z], [!a] at the beginning of `text`, and how long it is; None if it has no end."""
    at = first = 2 if text[1:2] in ("!", "^") else 1
    parts = []
    while at < len(text) and (text[at] != "]" or at == first):
        if at + 2 < len(text) and text[at + 1] == "-" and text[at + 2] != "]":
            if text[at] <= text[at + 2]:
                parts.append(f"{re.escape(text[at])}-{re.escape(text[at + 2])}")
            at += 3
        else:
            parts.append(re.escape(text[at]))
            at += 1
    if at >= len(text):
        return None
    inner = "".join(parts)
    if first == 2:
        return (f"(?!/)[^{inner}]" if inner else "[^/]"), at + 1
    return (f"(?!/)[{inner}]" if inner else "(?!)"), at + 1


class Where(NamedTuple):
    """A set of socket addresses: `10.0.0.0/8:80-90`, `[::1]:53`, `:443`, `/run/*.sock`, `@abstract`."""

    families: tuple[int, ...] = ()
    ip: bytes = b""
    prefix: int = 0
    low: int = 0
    high: int = 0
    path: str = ""

    def matches(self, address: Address | None) -> bool:
        if address is None or not address.family:
            return False
        if self.path:
            matched = glob_expression(self.path).fullmatch(address.path)
            return address.family == socket.AF_UNIX and matched is not None
        if address.family not in FAMILY_BITS:
            return False
        if self.high and not self.low <= address.port <= self.high:
            return False
        if not self.ip:
            return True
        host = address.plain_host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        ip = socket.inet_pton(family, host)
        shift = len(ip) * 8 - self.prefix
        return len(ip) == len(self.ip) and (
            int.from_bytes(ip, "big") >> shift == int.from_bytes(self.ip, "big") >> shift
        )


def where(text: str) -> Where:
    """The addresses that a text means. HandlerError."""
    if text.startswith(("/", "@")):
        return Where(path=text)
    found = WHERE.fullmatch(text)
    if not found or not text:
        raise _no_address(
            text, "it is written as HOST, HOST:PORT, HOST/BITS:PORT-PORT, :PORT, /PATH or @NAME"
        )
    low = 0 if found["low"] in (None, "*") else int(found["low"])
    high = int(found["high"]) if found["high"] else low
    if low > high or high > PORT_MAX:
        raise _no_address(text, f"ports are 1 to {PORT_MAX}, the lower one first")
    host = found["six"] or found["host"] or ""
    if host in ("", "*"):
        return Where(low=low, high=high)
    host, bits = ("127.0.0.0", "/8") if host == "localhost" else (host, found["net"])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        ip = socket.inet_pton(family, host)
    except OSError:
        raise _no_address(
            text, f"{host!r} is no numeric address, and names are not looked up"
        ) from None
    prefix = int(bits[1:]) if bits else FAMILY_BITS[family]
    if prefix > FAMILY_BITS[family]:
        raise _no_address(text, f"a prefix has at most {FAMILY_BITS[family]} bits")
    return Where((family,), ip, prefix, low, high)


def _no_address(text: str, why: str) -> HandlerError:
    return HandlerError(f"{text!r} is no address to match: {why}")


class Bits(NamedTuple):
    """Names or bits that must be set, as a mask and what is wanted under it: `O_CREAT|O_TRUNC`, `O_RDONLY|!O_CREAT`."""

    argument: str
    mask: int
    value: int


def bits(row: type[Syscall], wanted: int | str) -> Bits | None:
    """The test of a row's flags; None if it has no flags. HandlerError for a name that its flags do not have."""
    shows = {n: a.show for n, a in row.arguments.items() if isinstance(a.show, Flags)}
    name = "flags" if "flags" in shows else next(iter(shows), "")
    show = shows.get(name)
    if not isinstance(show, Flags):
        operation = next((name for name in OPERATIONS if name in row.arguments), None)
        return Bits(operation, wanted, wanted) if operation and isinstance(wanted, int) else None
    if isinstance(wanted, int):
        base = wanted & show.mask
        return Bits(name, wanted | (show.mask if base else 0), wanted)
    mask = value = 0
    for word in wanted.split("|"):
        if word.startswith("!") and word[1:] in show.values:
            mask |= show.values[word[1:]]
            value &= ~show.values[word[1:]]
        elif show.base is not None and word in show.base.values:
            mask |= show.mask
            value |= show.base.values[word]
        elif word in show.values:
            mask |= show.values[word]
            value |= show.values[word]
        else:
            names = [*show.values, *(show.base.values if show.base else ())]
            raise HandlerError(f"the flags of {row.__name__} have no {word!r}{near(word, names)}")
    return Bits(name, mask, value)


class When(NamedTuple):
    """Of the calls that fit otherwise, the `first`, and every `step`-th after it up to `last`. 0: no end; no step."""

    first: int
    last: int
    step: int

    def includes(self, number: int) -> bool:
        if number < self.first or (self.last and number > self.last):
            return False
        return number == self.first or (self.step > 0 and (number - self.first) % self.step == 0)


def counted(text: str | int) -> When:
    """strace's first[..last][+[step]]. HandlerError."""
    found = WHEN.fullmatch(str(text))
    if not found:
        raise HandlerError(
            f"{text!r} is no count: it is written first[..last][+[step]], as 3, 2..5 or 1+2"
        )
    first, last = int(found["first"]), int(found["last"] or 0)
    step = int(found["step"] or 1) if found["plus"] else 1 if found["last"] else 0
    if not 1 <= first <= WHEN_MAX or not step <= WHEN_MAX or last > WHEN_MAX - 1:
        raise HandlerError(f"{text!r}: first and step are 1 to {WHEN_MAX}, last to {WHEN_MAX - 1}")
    if found["plus"] and found["step"] and not step:
        raise HandlerError(f"{text!r}: a step is at least 1")
    if found["last"] and last < first:
        raise HandlerError(f"{text!r}: the last one is before the first")
    return When(first, last if found["last"] else 0 if found["plus"] else first, step or 1)


class Volume:
    """Counts the bytes that calls have moved."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def reserve(self, limit: int, wanted: int) -> int:
        """How many of `wanted` bytes may still be moved; they count as moved until `give_back`."""
        with self._lock:
            granted = min(max(limit - self._bytes, 0), wanted)
            self._bytes += granted
        return granted

    def give_back(self, amount: int) -> None:
        with self._lock:
            self._bytes -= amount


def chance(seed: int, number: int) -> int:
    """The `number`-th of many numbers of 32 bits that a seed stands for: rules_chance of native/shared/rules.h."""
    z = (seed + number * 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & WORD
    return (z ^ z >> 31) >> 32


class Chance:
    """Says yes with a probability; the same sequence for the same seed."""

    def __init__(self, probability: float, seed: int | None = None) -> None:
        if not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise HandlerError(f"a probability is from 0 to 1, not {probability!r}")
        self.probability = float(probability)
        self.seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
        self._numbers = itertools.count(1)

    def __call__(self) -> bool:
        return chance(self.seed, next(self._numbers)) < self.probability * (1 << 32)


def numbers(wanted: int | Iterable[int], what: str) -> frozenset[int]:
    """One number or several. HandlerError."""
    try:
        found = frozenset([wanted] if isinstance(wanted, int) else wanted)
    except TypeError:
        found = frozenset()
    if not found or not all(isinstance(number, int) for number in found):
        raise HandlerError(f"{what}= wants a number or several, not {wanted!r}")
    return found


def is_given(call: Syscall, name: str) -> bool:
    """Whether an address was given, which may stand in a message."""
    address = call.args[call.order[MACHINE].index(name)]
    if address and call.arguments[name].kind is Kind.MSG_IN:
        address = int.from_bytes(
            call.peek(address, POINTER), "little"
        )  # msg_name is its first member
    return bool(address)
