# SPDX-License-Identifier: Apache-2.0
"""Decides by a policy. What is allowed by a pattern is let through by the agent, within the program; what may be denied
is asked about, so that the denial can be said.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import lsca
from lsca.errors import HandlerError
from lsca.handlers.conditions import glob
from lsca.handlers.reports import to_stderr
from lsca.handlers.rule import rules_of
from lsca.services.denials import Denials
from lsca.services.network import Net, what
from lsca.services.network.rules import NetRule, RuleSet
from lsca.services.policy.reading import parse, read
from lsca.services.policy.schema import FILE_KINDS
from lsca.table.syscall import Handled

OPENS: Final = "open,openat"
CHANGES: Final = (
    "mkdir,mkdirat,rmdir,unlink,unlinkat,mknod,mknodat,truncate,creat,"
    "chmod,fchmodat,?fchmodat2,chown,lchown,fchownat,utime,utimes,futimesat,utimensat,"
    "setxattr,lsetxattr,removexattr,lremovexattr"
)
PAIRS: Final = "rename,renameat,renameat2,link,linkat,symlink,symlinkat"
EXECS: Final = "execve,execveat"
READS: Final = "O_RDONLY|!O_CREAT|!O_TRUNC"
CREATES: Final = os.O_CREAT | os.O_TRUNC
PATTERNS_MOST: Final = 150  # of which the agent decides by itself: a session holds 512 rules
CHECKED: Final = "_checked_by_policy"  # a note on a call
MISSING_IS_FINE: Final = (
    "read",
    "exec",
)  # the kernel says ENOENT before anybody asks for permission


@dataclass(frozen=True)
class Pattern:
    """One pattern of a policy, and how it is called when it denies."""

    text: str
    label: str

    def matches(self, path: str) -> bool:
        return bool(glob(self.text).fullmatch(path))


@dataclass(frozen=True)
class Kind:
    """What is said about one way to use files."""

    allow: tuple[Pattern, ...]
    deny: tuple[Pattern, ...]
    default: bool
    label: str

    def judge(self, *paths: str) -> tuple[bool, str]:
        """Whether a file is allowed by one of its names and denied by none, and what says so."""
        for one in self.deny:
            if any(one.matches(path) for path in paths):
                return False, one.label
        if any(one.matches(path) for one in self.allow for path in paths):
            return True, ""
        return self.default, self.label


class Policy:
    """The policy in a file, as a handler; `text` in its place is the policy itself. PolicyError.

    `enforce=False` says what would be denied, and denies nothing. `denials` has all that was.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "policy",
        *,
        text: str | None = None,
        enforce: bool = True,
        say: Callable[[str], None] | None = to_stderr,
    ) -> None:
        source, said = read(path) if text is None else parse(os.fspath(path), text)
        self.denials = Denials(say, enforce=enforce)
        self._source = source
        self._said = said
        self._kinds = {kind: self._kind(kind) for kind in FILE_KINDS}
        self._calls = self._call_rules()
        self.network = self._network()
        self._net = Net(policy=self.network, denials=self.denials, say=say)

    @property
    def __lsca_rules__(self) -> "list[lsca.Rule[Any]]":
        net = rules_of(self._net) if self.network else []
        return [*net, *self.rules()]

    # ---- from the text ----

    def _default(self, table: Mapping[str, Any], *, has_allow: bool) -> bool:
        word = table.get("default", self._said.get("default", "deny" if has_allow else "allow"))
        return bool(word == "allow")

    def _patterns(self, path: str, texts: list[str]) -> tuple[Pattern, ...]:
        found = []
        for text in texts:
            full = os.path.expanduser(text)
            try:
                glob(full)
            except HandlerError as error:
                raise self._source.wrong(f'"{text}": {error}', path, text) from None
            found.append(Pattern(full, f'{self._source.place(path, text)}: {path} "{text}"'))
        return tuple(found)

    def _kind(self, kind: str) -> Kind:
        files = self._said.get("files", {})
        table = files
        allow = self._patterns(f"files.{kind}", files.get(kind, []))
        deny = self._patterns(f"files.deny.{kind}", files.get("deny", {}).get(kind, []))
        name = f"files.{kind}"
        if kind == "exec" and "processes" in self._said:
            table = self._said["processes"]
            allow += self._patterns("processes.allow", table.get("allow", []))
            deny += self._patterns("processes.deny", table.get("deny", []))
            name = "processes.allow" if "allow" in table else name
        has_rules = bool(allow)
        default = self._default(table, has_allow=has_rules)
        return Kind(
            allow,
            deny,
            default,
            f"{self._source.place(name)}: the default, since no {name} allows it",
        )

    def _network(self) -> RuleSet:
        table = self._said.get("network", {})
        rules = []
        for key, operation in (("deny", "connect"), ("allow", "connect"), ("bind", "bind")):
            for text in table.get(key, []):
                path = f"network.{key}"
                try:
                    found = what(text)
                except HandlerError as error:
                    raise self._source.wrong(str(error), path, text) from None
                label = f'{self._source.place(path, text)}: {path} "{text}"'
                rules.append(NetRule(label, key != "deny", operation, found))
        return RuleSet(
            tuple(rules),
            connect=self._default(table, has_allow="allow" in table),
            bind=self._default(table, has_allow="bind" in table),
            text=f"{self._source.place('network')}: the default of network",
        )

    def _call_rules(self) -> "list[lsca.Rule[Any]]":
        table = self._said.get("calls", {})
        excepted: set[type[lsca.Syscall]] = set()
        for text in table.get("allow", []):
            excepted |= self._rows("calls.allow", text)
        rules: list[lsca.Rule[Any]] = []
        for text in table.get("deny", []):
            rows = self._rows("calls.deny", text) - excepted
            label = f'{self._source.place("calls.deny", text)}: calls.deny "{text}"'
            if rows:
                names = ",".join(sorted(row.row_name() for row in rows))
                rules.append(self._asking(lsca.on(names), self._refusing(label)))
        return rules

    def _rows(self, path: str, text: str) -> frozenset[type[lsca.Syscall]]:
        try:
            rule: lsca.Rule[Any] = lsca.on(text)
        except HandlerError as error:
            raise self._source.wrong(str(error), path, text) from None
        return rule.rows

    def _refusing(self, label: str) -> Callable[[Any], lsca.Verdict]:
        def refuse(call: Any) -> lsca.Verdict:
            if call.handled is Handled.WATCHED:
                return lsca.go_on
            return self.denials.deny(call, label, errno.EPERM, call.row_name())

        return refuse

    def _asking(
        self, rule: "lsca.Rule[Any]", handler: Callable[[Any], lsca.Verdict]
    ) -> "lsca.Rule[Any]":
        def decide(call: Any) -> lsca.Verdict:
            return handler(call)

        rule(decide)
        return rule

    # ---- as rules ----

    def rules(self) -> "list[lsca.Rule[Any]]":
        """All but the network. They come last of a run's rules: what they let through, no later rule sees."""
        read, write, execute = (self._kinds[kind] for kind in FILE_KINDS)
        rules = list(self._calls)
        few = len(read.allow) + len(write.allow) <= PATTERNS_MOST
        everything = f"{OPENS},openat2,{CHANGES},{PAIRS}"
        opened = f"{OPENS},openat2,creat"
        for kind, calls in ((read, f"{OPENS},openat2"), (write, everything)):
            for one in kind.deny:
                rules.append(self._asking(lsca.on(calls, path=one.text), self._check))
        if few and not read.default:
            rules += [lsca.on(OPENS, path=one.text, flags=READS).go_on() for one in read.allow]
        if few and not write.default:
            for one in write.allow:
                rules.append(lsca.on(OPENS, path=one.text, flags="O_WRONLY").go_on())
                rules.append(lsca.on(CHANGES, path=one.text).go_on())
        if not (read.default and write.default):
            calls = opened if write.default else everything
            rules.append(self._asking(lsca.on(calls), self._check))
        if execute.deny or not execute.default:  # seldom enough to look where links lead, each time
            rules.append(self._asking(lsca.on(EXECS), self._check))
        for rule in rules[:1]:
            rule.at_end = self.denials.close
        return rules

    def _check(self, call: Any) -> lsca.Verdict:
        """The denial of a call that uses files, or `go_on`. Several rules may ask about one call."""
        if vars(call).get(CHECKED) is self:
            return lsca.go_on
        vars(call)[CHECKED] = self
        try:
            needs = _needs(call)
        except OSError:  # a pointer that leads nowhere: the kernel will say so
            return lsca.go_on
        for kind, path in needs:
            allowed, label = self._kinds[kind].judge(path, os.path.realpath(path))
            if allowed or not path.startswith("/"):
                continue
            if kind in MISSING_IS_FINE and not os.path.lexists(path):
                continue
            verdict = self.denials.deny(call, label, errno.EACCES, f"{kind} {path}")
            if self.denials.enforce:
                return verdict
        return lsca.go_on


def _needs(call: Any) -> list[tuple[str, str]]:
    """What a call does with which paths."""
    name = call.row_name()
    if name in EXECS.split(","):
        return [("exec", call.absolute())]
    if name in ("open", "openat", "openat2"):
        flags = int(call.how.fields.get("flags", 0) if name == "openat2" else call.flags)
        path = call.absolute()
        way = flags & os.O_ACCMODE
        kinds = ["read"] if way != os.O_WRONLY and not flags & CREATES else []
        if way in (os.O_WRONLY, os.O_RDWR) or flags & CREATES:
            kinds.append("write")
        return [(kind, path) for kind in kinds]
    names = call.path_names()
    if name.startswith("symlink"):
        names = names[-1:]  # the other one is only a text
    return [("write", call.absolute(one)) for one in names]
