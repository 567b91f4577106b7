# SPDX-License-Identifier: Apache-2.0
"""`Net`: what programs find when they turn to the network. Its handlers decide about calls with addresses; where a
connection must be more than let through, refused or sent elsewhere, it is led to a listener of relay.py.

    net = Net("allow:example.com:80", resolve={"example.com": "127.0.0.1"}, latency=0.05)
    lsca.run(["curl", "http://example.com/"], handlers=[net])
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import lsca
from lsca import calls as c
from lsca.errors import HandlerError
from lsca.handlers.reports import to_stderr
from lsca.live.address import Address
from lsca.services import messages
from lsca.services.denials import Denials
from lsca.services.network import relay
from lsca.services.network.boxes import Answerer, Shape
from lsca.services.network.datagrams import PROTOCOLS, Datagrams, same_kind
from lsca.services.network.meant import INTERNET, Meant, is_whole
from lsca.services.network.names import Answer, Names, Resolver, serve_stream
from lsca.services.network.post import Post
from lsca.services.network.rules import RuleSet, What, rule_set, what
from lsca.services.network.stream import Handler, run
from lsca.services.network.tape import Player, Recorder

Target = Address | Handler
DNS_PORT: Final = 53
MSG_FASTOPEN: Final = 0x20000000
# Caches and servers of names on this machine, which would answer in the responder's place.
RESOLVERS: Final = (
    "/var/run/nscd/socket",
    "/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
)
RESOLV_CONF: Final = "nameserver 127.0.0.53\n"
CLOSING: Final = 1.0  # seconds for functions that answer connections to come to their end


@dataclass(frozen=True, slots=True)
class Route:
    """Where connections to these addresses lead; `replies`: what answers datagrams, and no connections."""

    what: What
    target: Target | None
    replies: Answerer | None = None


class Net:
    """The network of the programs of a run; a handler for `lsca.run(handlers=[net])`.

    `rules`: `none`, `loopback`, `allow:WHAT`, `deny:WHAT` (see rules.py). `reroute`: WHAT to another address, or to a
    function of a Stream. `resolve`: names to addresses, or a function of a name. `latency`: seconds that what is sent
    takes in each direction. `bandwidth`: bytes a second of each connection in each direction. `loss`: the part of all
    datagrams that gets lost, the same ones for the same `seed`. `datagrams`: WHAT to a function of an address and a
    datagram that was sent there, which returns the answer, several, or None. `tape`: a file to write what goes over
    connections to, and datagrams; `replay`: such a file instead of a network. `say` is told of what is refused.
    HandlerError for what cannot be.
    """

    def __init__(
        self,
        *rules: str,
        reroute: Mapping[str, str | Handler] | None = None,
        resolve: Mapping[str, Answer] | Resolver | None = None,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        loss: float = 0.0,
        seed: int = 0,
        datagrams: Mapping[str, Answerer] | None = None,
        tape: str | os.PathLike[str] | None = None,
        replay: str | os.PathLike[str] | None = None,
        say: Callable[[str], None] | None = to_stderr,
        policy: RuleSet | None = None,
        denials: Denials | None = None,
    ) -> None:
        if latency < 0 or bandwidth < 0:
            raise HandlerError("a latency and a bandwidth are not below 0")
        if not 0 <= loss <= 1:
            raise HandlerError("what gets lost is a part of 1: 0.1 is one datagram of ten")
        if tape is not None and replay is not None:
            raise HandlerError("a tape is made or played, not both at a time")
        self.rules = rule_set(*rules) if rules else RuleSet()
        self.policy = policy or RuleSet()
        self.latency, self.bandwidth = latency, bandwidth
        self.denials = denials or Denials(say)
        self._routes: list[Route] = []
        self._resolve = resolve
        self._recorder = None if tape is None else Recorder(os.fspath(tape))
        self._player = (
            None if replay is None else Player(os.fspath(replay), say or (lambda text: None))
        )
        self._names: Names | None = None
        self._listeners: dict[tuple[str, int], relay.Listener] = {}
        self._pumps: list[relay.Pump] = []
        self._threads: list[threading.Thread] = []
        self._meant = Meant()
        self._lock = threading.Lock()
        self._shape = Shape(latency, bandwidth, loss, seed)
        self._post = Post(
            self._shape,
            lambda place, meant: self._meant.stand(place, meant, datagrams=True),
            recorder=self._recorder,
            player=self._player,
            names=self._names_of,
        )
        is_shaped = bool(self._shape or self._recorder or self._player)
        self._datagrams = Datagrams(
            self, self._post, self._meant, is_shaped=is_shaped, player=self._player
        )
        for place, target in (reroute or {}).items():
            self.reroute(place, target)
        for place, function in (datagrams or {}).items():
            self.answer_datagrams(place)(function)

    def reroute(self, place: str, target: str | Handler) -> None:
        """Connections to these addresses lead to another address, or are answered by a function."""
        found = what(place)
        if isinstance(target, str):
            try:
                where: Target = Address.of(target)
            except ValueError as error:
                raise HandlerError(f"{place}={target}: {error}") from None
        elif callable(target):
            where = target
        else:
            raise HandlerError(f"{place} leads to an address or a function, not to {target!r}")
        self._routes.append(Route(found, where))

    def answer(self, place: str) -> Callable[[Handler], Handler]:
        """A decorator: the function answers connections to these addresses."""

        def note(handler: Handler) -> Handler:
            self.reroute(place, handler)
            return handler

        return note

    def answer_datagrams(self, place: str) -> Callable[[Answerer], Answerer]:
        """A decorator: the function is called with the address and the bytes of each datagram to these addresses; what
        it returns is the answer, or several, or None."""
        found = what(place)

        def note(replies: Answerer) -> Answerer:
            if not callable(replies):
                raise HandlerError(f"{place} is answered by a function, not by {replies!r}")
            self._routes.append(Route(found, None, replies))
            return replies

        return note

    @property
    def problems(self) -> list[str]:
        """What was not as on the tape that is played."""
        return [] if self._player is None else self._player.problems

    def check(self) -> None:
        """HandlerError if a name or an address of `resolve` is none."""
        self._names = self._known_names()

    # ---- as handlers ----

    @property
    def __lsca_rules__(self) -> "list[lsca.Rule[Any]]":
        self.check()
        rules: list[lsca.Rule[Any]] = []

        def add(rule: "lsca.Rule[Any]", handler: Callable[[Any], lsca.Verdict]) -> None:
            def decide(call: Any) -> lsca.Verdict:
                return handler(call)

            rule(decide)
            rules.append(rule)

        add(lsca.on(c.connect), self._connect)
        add(lsca.on(c.sendto, given="dest_addr"), self._sendto)
        add(lsca.on(c.sendmsg, given="msg"), lambda call: self._datagrams.send(call, 1))
        add(lsca.on(c.sendmmsg), lambda call: self._datagrams.send(call, call.vlen))
        if self.rules or self.policy:
            add(lsca.on(c.bind), self._bind)
        if self._leads:
            add(lsca.on(c.getpeername), self._getpeername)
            for rule, handler in self._datagrams.rules():
                add(rule, handler)
        if self._names is not None:
            opens = "open,openat,openat2"
            add(lsca.on(opens, path="/etc/hosts"), self._hosts)
            if self._names.is_closed or self.rules.absent:
                add(lsca.on(opens, path="/etc/resolv.conf"), self._resolv_conf)
        rules[0].at_end = self.settle
        return rules

    @property
    def _is_shaped(self) -> bool:
        return bool(self.latency or self.bandwidth or self._recorder or self._player)

    @property
    def _leads(self) -> bool:
        is_changed = self._is_shaped or self._shape or self._names is not None
        return bool(self._routes or is_changed)

    def _known_names(self) -> Names | None:
        wanted = [route.what.name for route in self._routes if route.what.name]
        ruled = [*self.rules.names(), *self.policy.names()]
        taped = self._recorder is not None or self._player is not None
        if self._resolve is None and not wanted and not ruled and not taped:
            return None
        return Names(
            self._resolve,
            wanted,
            asks=lambda name, server: self._may_ask(name, server, ruled),
            note=self._recorder.resolved if self._recorder else None,
            taped=self._player.resolve if self._player else None,
        )

    def _may_ask(self, name: str, server: Address, ruled: Collection[str]) -> bool:
        """A name that an `allow` speaks of may be asked for even where the server is not allowed."""
        every = (*self.rules.rules, *self.policy.rules)
        if any(rule.allow and rule.what.name and rule.what.matches_name(name) for rule in every):
            return True
        for rules in (self.rules, self.policy):
            allowed, text = rules.judge("connect", server)
            if not allowed:
                self.denials.note(f"{name} is not asked of the name server {server}", text)
                return not self.denials.enforce
        return True

    # ---- deciding ----

    def judge(self, call: lsca.Syscall, operation: str, address: Address) -> lsca.Verdict | None:
        """A refusal, or None. Netlink and the like are none of this service's business."""
        if address.family not in (*INTERNET, socket.AF_UNIX):
            return None
        names = self._names_of(address)
        for rules in (self.rules, self.policy):
            allowed, text = rules.judge(operation, address, names)
            if not allowed:
                if (
                    address.path.startswith("/")
                    and operation == "connect"
                    and not os.path.lexists(address.path)
                ):
                    return None  # the kernel says ENOENT before anybody asks for permission
                far = rules.absent and address.family in INTERNET and operation == "connect"
                known = f"{min(names)} " if names else ""
                denied = self.denials.deny(
                    call, text, errno.ENETUNREACH if far else errno.EACCES, f"{known}{address}"
                )
                return denied if self.denials.enforce else None
        return None

    def _names_of(self, address: Address) -> Collection[str]:
        return self._names.of(address) if self._names is not None else ()

    def _route(self, address: Address) -> Target | None:
        names = self._names_of(address)
        for route in self._routes:
            if route.target is not None and route.what.matches(address, names):
                return route.target
        return None

    def datagram_route(self, address: Address) -> Address | Answerer | None:
        """Where datagrams to an address lead. What answers connections is not for them."""
        names = self._names_of(address)
        for route in self._routes:
            target = route.replies or route.target
            is_for_them = route.replies is not None or isinstance(target, Address)
            if is_for_them and route.what.matches(address, names):
                return target  # type: ignore[return-value] # no Handler
        return None

    def _connect(self, call: c.connect) -> lsca.Verdict:
        address = call.addr
        if address.family not in (*INTERNET, socket.AF_UNIX) or not is_whole(address):
            return lsca.go_on
        if self._names is not None and address.path in RESOLVERS:
            return lsca.fail(errno.ENOENT)
        datagram = call.file.protocol in PROTOCOLS
        if self._is_name_server(address, datagrams=datagram):
            call.replace(addr=self._responder(address))
            return lsca.go_on
        refused = self.judge(call, "connect", address)
        if refused is not None:
            return refused
        if datagram:
            return self._datagrams.connect(call, address)
        return self._lead(call, address, "addr", waits=not call.file.is_nonblocking)

    def _lead(self, call: Any, address: Address, argument: str, *, waits: bool) -> lsca.Verdict:
        """Has the connection made, by another way than the program thinks if need be."""
        target = self._route(address)
        shaped = self._is_shaped and (address.family in INTERNET or target is not None)
        if target is None and not shaped:
            return lsca.go_on
        if isinstance(target, Address) and not shaped and same_kind(address, target):
            self._meant.lead(call.file.path, target, address)
            call.replace(**{argument: target.within(address.family)})
            return lsca.go_on
        try:
            serve = self._other_side(address, target, call)
        except OSError as error:
            return lsca.fail(error.errno or errno.ETIMEDOUT)
        if serve is None:
            return lsca.fail(errno.ECONNREFUSED)
        listener = self._listener(address)
        if self.latency and waits:
            lsca.sleep(2 * self.latency)
        listener.expect(serve)
        call.replace(**{argument: listener.address})
        result = call.proceed()
        has_failed = -4095 <= result < 0 and result != -errno.EINPROGRESS
        if has_failed and listener.forget(serve) and isinstance(serve, relay.Pump):
            serve.abandon()
        return lsca.go_on

    def _other_side(self, address: Address, target: Target | None, call: Any) -> relay.Serve | None:
        """What serves the connection. OSError if there is nothing; None if there is nothing on the tape."""
        if self._player is not None and not callable(target):
            player = self._player
            taped = player.next(address, f"{call.process.name}[{call.process.pid}]")
            if taped is None:
                return None
            if taped.failed:
                raise OSError(taped.failed, os.strerror(taped.failed))
            return lambda stream: player.play(stream, taped)
        names = self._names_of(address)
        recorder = self._recorder
        if callable(target):
            far, own = socket.socketpair()
            handler = target
            self._threads.append(relay.start(lambda: run(handler, own, address), "lsca-answer"))
        else:
            try:
                far = relay.dial(target or address)
            except OSError as error:
                if recorder is not None:
                    recorder.begin(address, names, error.errno or errno.ETIMEDOUT)
                raise
        note = None
        if recorder is not None:
            number = recorder.begin(address, names)

            def note(side: str, data: bytes) -> None:
                recorder.note(number, side, data)

        pump = relay.Pump(far, latency=self.latency, bandwidth=self.bandwidth, note=note)
        with self._lock:
            self._pumps = [one for one in self._pumps if not one.is_over]
            self._pumps.append(pump)
        return pump

    def _listener(self, address: Address) -> relay.Listener:
        key = (str(address), address.family)
        with self._lock:
            if key not in self._listeners:
                listener = self._listeners[key] = relay.Listener(address.family)
                self._meant.stand(listener.address, address)
            return self._listeners[key]

    # ---- datagrams and names ----

    def _is_name_server(self, address: Address, *, datagrams: bool) -> bool:
        if self._names is None or address.family not in INTERNET or address.port != DNS_PORT:
            return False
        route = self.datagram_route(address) if datagrams else self._route(address)
        return route is None

    def name_server(self, address: Address) -> Address | None:
        """What answers in the place of a name server, if that is one."""
        is_one = self._is_name_server(address, datagrams=True)
        return self._responder(address) if is_one else None

    def _responder(self, server: Address) -> Address:
        """The responder that stands for a name server; over UDP and TCP it has the same port."""
        names = self._names
        assert names is not None
        key = (f"dns {server}", server.family)
        with self._lock:
            while key not in self._listeners:
                listener = relay.Listener(server.family, lambda s: serve_stream(s, names, server))
                try:
                    box = self._post.box(
                        server,
                        lambda _, query: names.answer(query, server, udp=True) or None,
                        at=listener.address,
                    )
                except OSError:  # somebody has this port for UDP
                    listener.close()
                    continue
                box.is_taped = False
                self._listeners[key] = listener
                self._meant.stand(listener.address, server)
            return self._listeners[key].address

    def _sendto(self, call: c.sendto) -> lsca.Verdict:
        address = call.dest_addr
        if (
            is_whole(address)
            and int(call.flags) & MSG_FASTOPEN
            and call.file.protocol.startswith(("TCP", "MPTCP"))
        ):
            refused = self.judge(call, "connect", address)
            return refused or self._lead(call, address, "dest_addr", waits=False)
        return self._datagrams.sendto(call)

    def _getpeername(self, call: c.getpeername) -> lsca.Verdict:
        size = messages.length(call, call.args[2])
        if messages.made(call) >= 0:
            messages.show(call, call.args[1], call.args[2], size, self._meant.by(call))
        return lsca.go_on

    def _bind(self, call: c.bind) -> lsca.Verdict:
        if call.addr.family in INTERNET and not (call.addr.port and is_whole(call.addr)):
            return lsca.go_on  # any port: what clients do
        return self.judge(call, "bind", call.addr) or lsca.go_on

    # ---- files ----

    def _hosts(self, call: Any) -> lsca.Verdict:
        if self._names is None or not _only_reads(call):
            return lsca.go_on
        try:
            with open("/etc/hosts", encoding="utf-8", errors="surrogateescape") as f:
                text = f.read()
        except OSError:
            text = ""
        return lsca.file(self._names.hosts(text))

    def _resolv_conf(self, call: Any) -> lsca.Verdict:
        return lsca.file(RESOLV_CONF) if _only_reads(call) else lsca.go_on

    # ---- the end ----

    def settle(self) -> None:
        """At the end of a run: lets what was sent arrive, and says what of a tape was not played."""
        relay.wait_for(self._pumps)
        self._post.settle()
        for thread in self._threads:
            thread.join(CLOSING)
        if self._player is not None:
            left = self._player.left()
            if left:
                more = f" and {len(left) - 1} more" if len(left) > 1 else ""
                self._player.complain(f"{left[0]}{more}: not made this time")
        self.denials.close()

    def close(self) -> None:
        """Ends all."""
        self.settle()
        for listener in self._listeners.values():
            listener.close()
        self._post.close()
        if self._recorder is not None:
            self._recorder.close()

    def __enter__(self) -> "Net":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _only_reads(call: Any) -> bool:
    flags = call.how.fields.get("flags", 0) if call.row_name() == "openat2" else call.flags
    return not int(flags) & os.O_ACCMODE
