# SPDX-License-Identifier: Apache-2.0
"""What time programs think it is: shifted, standing still, or running at another speed, for all that they start.

    clock("+3d")                      three days ahead
    clock("2030-01-01T00:00:00")      it is that when the run begins, and runs on
    clock("@2030-01-01")              it is that, and stays so until `tick` or `move_to`
    clock("x60"), clock("+1y,x0.5")   a minute a second

The clocks are calls then: the session hides the vDSO, so that C programs, Go and every libc ask. Clocks of processor
time are left alone. Where a program waits until a time, it waits until its own clock says so; how long it waits is
divided where time runs at another speed. Times of files stay the kernel's.
"""

import re
import struct
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import lsca
from lsca import calls as c
from lsca.errors import HandlerError
from lsca.handlers.rule import noted

NS: Final = 1_000_000_000
US: Final = 1000
DAY: Final = 86400
WALL: Final = (0, 5, 8, 11)  # CLOCK_REALTIME, its coarse one, its alarm, CLOCK_TAI
ALARMS: Final = {8: 0, 9: 7}
TAI: Final = 11
STEADY: Final = (1, 4, 6, 7, 9)  # CLOCK_MONOTONIC, raw and coarse, CLOCK_BOOTTIME and its alarm
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
SHIFT: Final = re.compile(r"[+-](?:\d+(?:\.\d+)?[smhdwy])+")
PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdwy])")
SPEED: Final = re.compile(r"x(\d+(?:\.\d+)?)")
FORMS: Final = (
    "'+3d', '-2h30m', '2030-01-01T00:00:00', '@2030-01-01T00:00:00' (standing still), 'x10'"
)
ABSOLUTE: Final = 1  # TIMER_ABSTIME, TFD_TIMER_ABSTIME
FUTEX_WAIT: Final = 0
FUTEX_DEADLINES: Final = (9, 11, 13)  # FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2
FUTEX_REALTIME: Final = 256
EXACT: Final = struct.Struct("<qq")
TWICE: Final = struct.Struct("<qqqq")


class Clock:
    """A clock of its own for a run; handed to `lsca.run(handlers=[...])`. May be set while programs run."""

    def __init__(self, start: int, *, speed: float = 1.0, stands: bool = False) -> None:
        """`start`: nanoseconds since 1970. `speed`: seconds in a second."""
        if not 0 < speed <= 1e6:
            raise HandlerError(
                f"time cannot run {speed} times as fast: from 0 (excluded) to 1000000 it can"
            )
        self.speed = speed
        self.stands = stands
        self._begun = {clock: _real(clock) for clock in (*WALL, *STEADY)}
        self._start = start
        self._timers: dict[tuple[int, str, int], int] = {}  # which clock a timer goes by
        self.__lsca_rules__ = self._rules()

    def tick(self, seconds: float = 1.0) -> None:
        """Sets the wall clock forward."""
        self._start += round(seconds * NS)

    def move_to(self, when: datetime | str) -> None:
        """Sets the wall clock; it goes on from there, or stands."""
        now = time.time_ns() - self._begun[0]
        self._start = _instant(when) - (0 if self.stands else round(now * self.speed))

    def time_ns(self, clock: int = 0) -> int:
        """What a clock of the program's says now."""
        return self._shown(clock, _real(clock))

    def _shown(self, clock: int, real: int) -> int:
        passed = real - self._begun[clock]
        if self.speed != 1:
            passed = round(passed * self.speed)
        if clock in STEADY:
            return self._begun[clock] + passed
        leap = round((self._begun[TAI] - self._begun[0]) / NS) * NS if clock == TAI else 0
        return self._start + (0 if self.stands else passed) + leap

    # ---- rules ----

    def _rules(self) -> "list[lsca.Rule[Any]]":
        found = [
            _rule(self._gettime, c.clock_gettime),
            _rule(self._timeofday, c.gettimeofday),
            _rule(self._seconds, c.time),
            _rule(self._sleep_until, c.clock_nanosleep),
            _rule(self._timer, c.timer_settime),
            _rule(self._create, c.timerfd_create, c.timer_create),
            _rule(self._timer, c.timerfd_settime),
            _rule(self._message, c.mq_timedsend, c.mq_timedreceive),
        ]
        if self.speed == 1:
            futex: lsca.Rule[Any] = lsca.on(c.futex, flags=FUTEX_REALTIME)
            futex(self._futex)
            return [*found, futex]
        return [
            *found,
            _rule(self._futex, c.futex),
            _rule(self._exactly("duration"), c.nanosleep),
            _rule(self._remaining("tmo_p", NS), c.ppoll),
            _rule(self._remaining("timeout", NS), c.pselect6),
            _rule(self._remaining("timeout", NS // US), c.select),
            _rule(
                self._exactly("timeout"),
                c.epoll_pwait2,
                c.semtimedop,
                c.rt_sigtimedwait,
            ),
            _rule(self._milliseconds, c.poll, c.epoll_wait, c.epoll_pwait),
            _rule(self._interval, c.setitimer),
            _rule(self._alarm, c.alarm),
        ]

    # ---- telling the time ----

    def _gettime(self, call: Any) -> lsca.Verdict:
        clock = int(call.clockid)
        if clock not in self._begun or (clock in STEADY and self.speed == 1):
            return lsca.go_on
        call.fill(tp=EXACT.pack(*divmod(self.time_ns(clock), NS)))
        return lsca.ret(0)

    def _timeofday(self, call: Any) -> lsca.Verdict:
        result = call.proceed()  # the time zone is the kernel's
        if result == 0 and call.args[0]:
            seconds, rest = divmod(self.time_ns(), NS)
            call.fill(tv=EXACT.pack(seconds, rest // US))
        return lsca.go_on

    def _seconds(self, call: Any) -> lsca.Verdict:
        now = self.time_ns() // NS
        if call.args[0]:
            call.fill(tloc=now.to_bytes(8, "little", signed=True))
        return lsca.ret(now)

    # ---- waiting ----

    def _length(self, ns: int) -> int:
        """How long it really takes; what is to take no time takes none."""
        return max(1, round(ns / self.speed)) if ns > 0 else ns

    def _deadline(self, clock: int, ns: int) -> int:
        """When it really is then."""
        if clock not in self._begun or (clock in STEADY and self.speed == 1):
            return ns
        real = _real(clock)
        left = ns - self._shown(clock, real)
        return max(1, real + round(left / self.speed))

    def _exactly(self, name: str) -> Callable[[Any], lsca.Verdict]:
        def handler(call: Any) -> lsca.Verdict:
            given = bytes(getattr(call, name))
            if len(given) == EXACT.size:
                call.replace(**{name: _packed(self._length(_ns(given)))})
            return lsca.go_on

        return handler

    def _sleep_until(self, call: Any) -> lsca.Verdict:
        given = bytes(call.t)
        if len(given) == EXACT.size:
            wanted, clock = _ns(given), int(call.clockid)
            real = self._deadline(clock, wanted) if call.flags & ABSOLUTE else self._length(wanted)
            if real != wanted:
                call.replace(t=_packed(real))
        return lsca.go_on

    def _futex(self, call: Any) -> lsca.Verdict:
        operation = call.args[1] & 0x7F
        if not call.args[3] or operation not in (FUTEX_WAIT, *FUTEX_DEADLINES):
            return lsca.go_on
        given = bytes(call.timeout)
        if len(given) == EXACT.size:
            clock = 0 if call.args[1] & FUTEX_REALTIME else 1
            wanted = _ns(given)
            real = (
                self._length(wanted) if operation == FUTEX_WAIT else self._deadline(clock, wanted)
            )
            call.replace(timeout=_packed(real))
        return lsca.go_on

    def _message(self, call: Any) -> lsca.Verdict:
        given = bytes(call.abs_timeout)
        if len(given) == EXACT.size:
            call.replace(abs_timeout=_packed(self._deadline(0, _ns(given))))
        return lsca.go_on

    def _remaining(self, name: str, parts: int) -> Callable[[Any], lsca.Verdict]:
        """For calls that write back how much of the time is left. `parts`: of a second, in the structure."""

        def handler(call: Any) -> lsca.Verdict:
            given = bytes(getattr(call, name))
            if len(given) < EXACT.size:
                return lsca.go_on
            address = call.args[list(call.arguments).index(name)]
            call.poke(address, self._in_parts(given, parts, self._length))
            call.proceed()
            left = call.peek(address, EXACT.size)
            call.poke(address, self._in_parts(left, parts, lambda ns: round(ns * self.speed)))
            return lsca.go_on

        return handler

    @staticmethod
    def _in_parts(data: bytes, parts: int, change: Callable[[int], int]) -> bytes:
        seconds, rest = EXACT.unpack(data)
        ns = change(seconds * NS + rest * (NS // parts))
        whole, rest = divmod(-(-ns // (NS // parts)), parts)
        return EXACT.pack(whole, rest)

    def _milliseconds(self, call: Any) -> lsca.Verdict:
        if call.timeout > 0:
            call.replace(timeout=max(1, round(call.timeout / self.speed)))
        return lsca.go_on

    # ---- timers ----

    def _create(self, call: Any) -> lsca.Verdict:
        """Notes which clock a timer goes by."""
        result = call.proceed()
        if result >= 0:
            is_file = call.row_name() == "timerfd_create"
            number = result if is_file else int.from_bytes(bytes(call.timerid)[:4], "little")
            key = call.process.pid, "timerfd_settime" if is_file else "timer_settime", number
            self._timers[key] = int(call.clockid)
        return lsca.go_on

    def _timer(self, call: Any) -> lsca.Verdict:
        given = bytes(call.new_value)
        if len(given) != TWICE.size:
            return lsca.go_on
        every, first = _ns(given[:16]), _ns(given[16:])
        if call.flags & ABSOLUTE and first:
            name = call.row_name()
            number = call.args[0]
            first = self._deadline(self._timers.get((call.process.pid, name, number), 0), first)
        else:
            first = self._length(first)
        changed = _packed(self._length(every)) + _packed(first)
        if changed != given:
            call.replace(new_value=changed)
        return lsca.go_on

    def _interval(self, call: Any) -> lsca.Verdict:
        given = bytes(call.new_value)
        if (
            call.which == 0 and len(given) == TWICE.size
        ):  # ITIMER_REAL; the others count processor time
            parts = TWICE.unpack(given)
            ns = [self._length(parts[at] * NS + parts[at + 1] * US) for at in (0, 2)]
            micros = [-(-one // US) for one in ns]
            call.replace(
                new_value=TWICE.pack(*(part for one in micros for part in divmod(one, 1_000_000)))
            )
        return lsca.go_on

    def _alarm(self, call: Any) -> lsca.Verdict:
        if call.seconds:
            call.replace(seconds=max(1, round(call.seconds / self.speed)))
        return lsca.go_on


def clock(text: str) -> Clock:
    """A clock as the command line's `--time` says it; see above. HandlerError."""
    made = _clock(text)
    noted(made.__lsca_rules__)
    return made


def frozen(when: datetime | str) -> Clock:
    """It is this time, and stays so until `tick` or `move_to`. A time without a zone is local."""
    made = Clock(_instant(when), stands=True)
    noted(made.__lsca_rules__)
    return made


def shifted(by: timedelta | str) -> Clock:
    """It is as much later: a timedelta, or "+3d"."""
    ns = round(by / timedelta(microseconds=1)) * US if isinstance(by, timedelta) else _shift(by)
    made = Clock(time.time_ns() + ns)
    noted(made.__lsca_rules__)
    return made


def scaled(speed: float) -> Clock:
    """Time runs so many times as fast from now on, and waiting is over as much sooner."""
    made = Clock(time.time_ns(), speed=speed)
    noted(made.__lsca_rules__)
    return made


def option(name: str, value: str, state: str | None = None) -> Clock:
    """`--time` of the command line. HandlerError."""
    return _clock(value)


def _clock(text: str) -> Clock:
    start, speed, stands = time.time_ns(), 1.0, False
    for word in text.split(","):
        fast = SPEED.fullmatch(word)
        if fast:
            speed = float(fast[1])
        elif SHIFT.fullmatch(word):
            start += _shift(word)
        else:
            stands = stands or word.startswith("@")
            start = _instant(word.removeprefix("@"))
    return Clock(start, speed=speed, stands=stands)


def _shift(text: str) -> int:
    if not SHIFT.fullmatch(text):
        raise HandlerError(f"{text!r} is no distance in time; '+3d' and '-2h30m' are")
    total = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    return round(total * NS) * (-1 if text[0] == "-" else 1)


def _instant(when: datetime | str) -> int:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise HandlerError(f"{when!r} is no time; what can be said is {FORMS}") from None
    return int(when.timestamp()) * NS + when.microsecond * US


def _rule(handler: Callable[[Any], lsca.Verdict], *rows: Any) -> "lsca.Rule[Any]":
    rule: lsca.Rule[Any] = lsca.on(*rows)
    rule(lambda call: handler(call))
    return rule


def _real(clock: int) -> int:
    """A clock of the kernel's; those that wake the machine are not everywhere, and say what others say."""
    return time.clock_gettime_ns(ALARMS.get(clock, clock))


def _ns(data: bytes) -> int:
    seconds, rest = EXACT.unpack(data)
    return int(seconds) * NS + int(rest)


def _packed(ns: int) -> bytes:
    return EXACT.pack(*divmod(ns, NS))
