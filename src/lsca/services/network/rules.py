# SPDX-License-Identifier: Apache-2.0
"""Which addresses: `10.0.0.0/8:80-90`, `example.com:443`, `*.example.com`, `[::1]:53`, `:443`, `/run/*.sock`, `inet6`;
and rules of them: `allow:WHAT`, `deny:WHAT`, `deny:bind:WHAT`, and the words `none` and `loopback`.

Made from what the user wrote, once; what is wrong is said then.
"""

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from lsca.errors import HandlerError, near
from lsca.handlers.conditions import glob_expression
from lsca.live.address import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PORT_MAX: Final = 0xFFFF
FAMILIES: Final = {
    "unix": (socket.AF_UNIX,),
    "inet": (socket.AF_INET,),
    "inet6": (socket.AF_INET6,),
    "internet": (socket.AF_INET, socket.AF_INET6),
}
LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
WHAT: Final = re.compile(
    r"(?:\[(?P<six>[^]]*)\]|(?P<host>[^:/\[\]]*))(?P<bits>/\d+)?(?::(?P<low>\d+|\*)(?:-(?P<high>\d+))?)?"
)
NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\*")
VERBS: Final = ("allow", "deny")
OPERATIONS: Final = ("connect", "bind")
SHAPES: Final = (
    "HOST, HOST:PORT, HOST:PORT-PORT, NETWORK/BITS:PORT, [V6]:PORT, :PORT, *.NAME, /PATH, @NAME, "
    "or one of all, loopback, internet, inet, inet6, unix"
)


@dataclass(frozen=True, slots=True)
class What:
    """A set of addresses. `name`: a pattern for the name that was resolved to the address."""

    text: str
    families: tuple[int, ...] = ()
    networks: tuple[Network, ...] = ()
    name: str = ""
    low: int = 0
    high: int = PORT_MAX
    path: str = ""

    def matches(self, address: Address, names: Collection[str] = ()) -> bool:
        """Whether an address is one of them; `names` are those that are known for it."""
        if self.path:
            found = glob_expression(self.path).fullmatch(address.path)
            return address.family == socket.AF_UNIX and found is not None
        if self.families and address.family not in self.families:
            return False
        if address.family not in (socket.AF_INET, socket.AF_INET6):
            return not self.networks and not self.name and self.high == PORT_MAX and not self.low
        if not self.low <= address.port <= self.high:
            return False
        if self.name:
            return any(fits_name(self.name, name) for name in names)
        if not self.networks:
            return True
        host = ipaddress.ip_address(address.plain_host)
        return any(host.version == net.version and host in net for net in self.networks)

    def matches_name(self, name: str) -> bool:
        return bool(self.name) and fits_name(self.name, name)


def fits_name(pattern: str, name: str) -> bool:
    """`example.com` itself, `*.example.com` what is below it, `*` all names."""
    return fnmatch.fnmatchcase(name.lower().rstrip("."), pattern.lower().rstrip("."))


def what(text: str) -> What:
    """The addresses that a text means. HandlerError."""
    if text in FAMILIES:
        return What(text, FAMILIES[text])
    if text == "loopback":
        return What(text, networks=LOOPBACK)
    if text in ("all", "*"):
        return What(text)
    if text.startswith(("/", "@")):
        return What(text, path=text)
    if text.count(":") > 1 and "[" not in text:
        raise HandlerError(f"{text!r}: an IPv6 address is written in brackets, as [::1]:80")
    found = WHAT.fullmatch(text)
    if not text or not found:
        raise HandlerError(f"{text!r} names no addresses; that is written as {SHAPES}")
    low, high = _ports(text, found["low"], found["high"])
    six, host, bits = found["six"], found["host"], found["bits"] or ""
    if six is None and not host:
        return What(text, FAMILIES["internet"], low=low, high=high)
    if host in ("all", "*", "loopback", "inet", "inet6", "internet"):
        networks = LOOPBACK if host == "loopback" else ()
        families = FAMILIES.get(host, FAMILIES["internet"])
        return What(text, families, networks, low=low, high=high)
    try:
        network = ipaddress.ip_network((six if six is not None else host) + bits, strict=False)
    except ValueError as error:
        if six is not None or bits or re.fullmatch(r"[\d.]+", host):
            raise HandlerError(f"{text!r}: {error}") from None
    else:
        return What(text, networks=(network,), low=low, high=high)
    if not NAME.fullmatch(host):
        raise HandlerError(f"{text!r}: {host!r} is neither an address nor the name of a host")
    if host == "localhost":
        return What(text, networks=LOOPBACK, low=low, high=high)
    return What(text, name=host.lower().rstrip("."), low=low, high=high)


def _ports(text: str, low: str | None, high: str | None) -> tuple[int, int]:
    if low is None or low == "*":
        return 0, PORT_MAX
    first, last = int(low), int(high or low)
    if not first <= last <= PORT_MAX:
        raise HandlerError(f"{text!r}: ports are from 0 to {PORT_MAX}, the lower one first")
    return first, last


@dataclass(frozen=True, slots=True)
class NetRule:
    """One rule: `text` as it was written, for whom to tell."""

    text: str
    allow: bool
    operation: str
    what: What


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in their order: the first that fits decides, else the default of the operation."""

    rules: tuple[NetRule, ...] = ()
    connect: bool = True
    bind: bool = True
    absent: bool = False  # as on a machine without a network: ENETUNREACH rather than EACCES
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.rules) or not self.connect or not self.bind

    def judge(
        self, operation: str, address: Address, names: Collection[str] = ()
    ) -> tuple[bool, str]:
        """Whether it is allowed, and what says so."""
        for rule in self.rules:
            if rule.operation == operation and rule.what.matches(address, names):
                return rule.allow, rule.text
        default = self.connect if operation == "connect" else self.bind
        if address.family == socket.AF_UNIX and self.absent:
            return True, ""
        return default, f"{self.text or 'the default'}, since no rule allows it"

    def names(self) -> list[str]:
        """The names of hosts that rules speak of."""
        return [rule.what.name for rule in self.rules if rule.what.name]


def rule_set(*texts: str, default: str | None = None) -> RuleSet:
    """`none`, `loopback`, or rules with commas between them. HandlerError.

    What no rule is about is refused if there is an `allow`, else allowed; `default` says so itself.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    if not words or not all(words):
        raise HandlerError(
            f"a rule for the network is missing; one is allow:WHAT, deny:WHAT ({SHAPES})"
        )
    if words == ["none"]:
        return RuleSet(connect=False, absent=True, text="--net none")
    rules: list[NetRule] = []
    for word in words:
        if word == "none":
            raise HandlerError("none allows nothing, so there is nothing to be said beside it")
        if word == "loopback":
            word = "allow:loopback"
            rules.append(NetRule("allow:loopback", True, "bind", what("loopback")))
        rules.append(_rule(word))
    given = {op for op in OPERATIONS for r in rules if r.operation == op and r.allow}
    allowed = {op: op not in given if default is None else default == "allow" for op in OPERATIONS}
    absent = words == ["loopback"]
    return RuleSet(
        tuple(rules), allowed["connect"], allowed["bind"], absent, f"--net {','.join(words)}"
    )


def _rule(word: str) -> NetRule:
    verb, colon, rest = word.partition(":")
    if verb not in VERBS or not colon:
        hint = (
            near(verb, [*VERBS, "none", "loopback"])
            or "; there are allow:, deny:, none and loopback"
        )
        raise HandlerError(f"{word!r} is no rule for the network{hint}")
    operation, _, after = rest.partition(":")
    if operation not in OPERATIONS:
        operation, after = "connect", rest
    return NetRule(word, verb == "allow", operation, what(after))
