# SPDX-License-Identifier: Apache-2.0
"""What is typed into the filter of `lsca view`, as a condition of SQL on the table `calls`.

Terms stand side by side and all must hold: plain words are looked for in names, paths and addresses; `name=read,write`,
`path~*.so`, `bytes>1k`, `>1ms`; `!` in front turns a term around. Anything that makes no sense raises FilterError with
an explanation; nothing here touches data or screen.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Final

from lsca.errors import UsageError
from lsca.log.units import parse_duration, parse_size
from lsca.table import FAMILIES, by_name, rows
from lsca.table.text import ERRNO_NAMES

# Who is at the other end of a call: its address argument, else that of what its descriptor stands for.
PEER: Final = (
    "coalesce(address, nullif(regexp_extract(file, '->(.+)$', 1), ''), "
    "CASE WHEN starts_with(file, 'UNIX:') THEN file END)"
)
# What a path term looks at is what the call names; what stood behind its descriptor is in `path` already.
TEXTS: Final = {
    "name": ("name",),
    "error": ("error",),
    "family": ("family",),
    "route": ("route",),
    "path": ("path", "path2"),
    "file": ("file",),
    "peer": (PEER,),
    "argv": ("argv",),
}
_ARGS: Final = ("arg0", "arg1", "arg2", "arg3", "arg4", "arg5")
NUMBERS: Final = ("pid", "tid", "fd", "ret", "nr", "run", "thread", "seq", "bytes", *_ARGS)
TIMES: Final = ("duration", "after", "before")
OTHERS: Final = ("program", "trapped")
KEYS: Final = (*TEXTS, *NUMBERS, *TIMES, *OTHERS)
ALIASES: Final = {"call": "name", "errno": "error", "took": "duration", "address": "peer"}
WORDS: Final = ("name", "path", "path2", "file", "address", "argv", "error")
LISTS: Final = ("name", "error", "family", "route")  # whose values cannot have a comma in them
ROUTES: Final = ("kernel", "proxy", "local", "handler")
ERRNOS: Final = frozenset(ERRNO_NAMES.values()) | {
    "ERESTARTSYS",
    "ERESTARTNOINTR",
    "ERESTARTNOHAND",
    "ERESTART_RESTARTBLOCK",
    "ENOTSUPP",
}

_TERM: Final = re.compile(r"([A-Za-z_]\w*)?(!=|>=|<=|!~|=|~|>|<)(.*)", re.DOTALL)


class FilterError(UsageError):
    """A term that makes no sense; the text says why and what would."""


@dataclass(frozen=True, slots=True)
class Context:
    """What terms are relative to: the begin of the log, in nanoseconds since 1970."""

    origin_ns: int = 0


def where(text: str, context: Context = Context()) -> str:
    """The condition for a line of terms; empty if there are none. FilterError."""
    return " AND ".join(_term(term, context) for term in split(text))


def split(text: str) -> list[str]:
    """The terms of a line. Quotes keep spaces together; one that is still open ends with the line."""
    terms: list[str] = []
    current, quote, started = "", "", False
    for char in text:
        if quote:
            if char == quote:
                quote = ""
            else:
                current += char
        elif char in "'\"":
            quote, started = char, True
        elif char.isspace():
            if current or started:
                terms.append(current)
            current, started = "", False
        else:
            current += char
    if current or started:
        terms.append(current)
    return [term for term in terms if term]


def term(key: str, value: object, operator: str = "=") -> str:
    """A term in the way that it is typed; for links from one view to another."""
    words = str(value)
    if re.search(r"[\s'\"]", words) or not words:
        quote = "'" if '"' in words else '"'
        words = f"{quote}{words}{quote}"
    return f"{key}{operator}{words}"


def quote(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _term(text: str, context: Context) -> str:
    negated = text.startswith("!") and len(text) > 1
    body = text[1:] if negated else text
    match = _TERM.fullmatch(body)
    if not match:
        condition = _word(body)
    else:
        key, operator, value = match[1] or "", match[2], match[3]
        if operator in ("!=", "!~"):
            negated, operator = not negated, operator[1:]
        condition = _comparison(text, key, operator, value, context)
    return f"({condition}) IS NOT TRUE" if negated else condition


def _word(word: str) -> str:
    """A plain word, found anywhere; capitals count only if there are some in the word."""
    if "*" in word or "?" in word:
        pattern = quote(_glob("*" + word.strip("*") + "*"))
        return _or([f"{column} GLOB {pattern}" for column in WORDS])
    if word == word.lower():
        return _or([f"contains(lower({column}), {quote(word)})" for column in WORDS])
    return _or([f"contains({column}, {quote(word)})" for column in WORDS])


def _comparison(text: str, key: str, operator: str, value: str, context: Context) -> str:
    key = ALIASES.get(key.lower(), key.lower()) or ("duration" if operator[0] in "<>" else "")
    if not key:
        raise FilterError(
            f"{text}: a column is missing before {operator}, as in name{operator}read"
        )
    if key not in KEYS:
        near = difflib.get_close_matches(key, [*KEYS, *ALIASES], n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(KEYS)}"
        raise FilterError(f"{text}: there is no column {key!r}; {hint}")
    if not value:
        raise FilterError(f"{text}: a value is missing after {operator}")
    try:
        if key in TEXTS:
            return _text(key, operator, value)
        if key == "program":
            return _program(operator, value)
        if key == "trapped":
            return _switch(operator, value)
        if key in TIMES:
            return _time(key, operator, value, context)
        return _number(key, operator, value)
    except ValueError as error:
        raise FilterError(f"{text}: {error}") from None


def _text(key: str, operator: str, value: str) -> str:
    if operator not in ("=", "~"):
        raise ValueError(f"{key} is a text; = and ~ go with it, {operator} does not")
    values = [word for word in value.split(",") if word] if key in LISTS else [value]
    if not values:
        raise ValueError("a value is missing")
    if operator == "=":
        for word in values:
            _known(key, word)
    return _or([_match(column, operator, word) for word in values for column in TEXTS[key]])


def _match(column: str, operator: str, value: str) -> str:
    if value == "*" and operator == "=":
        return f"{column} IS NOT NULL"
    if "*" in value or "?" in value:
        return f"{column} GLOB {quote(_glob(value))}"
    if operator == "~":
        return f"contains({column}, {quote(value)})"
    return f"{column} = {quote(value)}"


def _known(key: str, value: str) -> None:
    """A value that no call can have is an error of typing, and says so instead of showing nothing."""
    if "*" in value or "?" in value:
        return
    known: list[str] = []
    if key == "name" and by_name(value) is None and not re.match(r"i386:|syscall_", value):
        known = [row.name for row in rows()]
        what = "system call"
    elif key == "error" and value not in ERRNOS:
        known, what = sorted(ERRNOS), "error"
    elif key == "family":
        known, what = [module.__name__.rpartition(".")[2] for module in FAMILIES], "family"
    elif key == "route":
        known, what = list(ROUTES), "route"
    if known and value not in known:
        near = difflib.get_close_matches(value, known, n=3) or (known if len(known) < 30 else [])
        hint = f"; near to it: {', '.join(near)}" if near else ""
        raise ValueError(f"there is no {what} {value!r}{hint}")


def _program(operator: str, value: str) -> str:
    if operator not in ("=", "~"):
        raise ValueError(f"program is a text; = and ~ go with it, {operator} does not")
    # `program=sh` is what people type; the table has its whole path.
    tests = [_match("program", operator, value)]
    if "/" not in value and operator == "=":
        tests.append(f"program GLOB {quote('*/' + _glob(value))}")
    return f"(run, pid) IN (SELECT (run, pid) FROM processes WHERE {_or(tests)})"


def _switch(operator: str, value: str) -> str:
    if operator != "=" or value.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError("trapped is yes or no")
    return "trapped" if value.lower() in ("yes", "true", "1") else "NOT trapped"


def _time(key: str, operator: str, value: str, context: Context) -> str:
    if operator == "~":
        raise ValueError(f"{key} is a time; =, < and > go with it, ~ does not")
    ns = parse_duration(value)
    if key == "duration":
        return f"duration_ns {operator} {ns}"
    if operator != "=":
        raise ValueError(f"{key} wants =, as in {key}=1.5s: seconds since the log begins")
    moment = f"make_timestamp_ns({context.origin_ns + ns})"
    return f"start >= {moment}" if key == "after" else f"start < {moment}"


def _number(key: str, operator: str, value: str) -> str:
    if operator == "~":
        raise ValueError(f"{key} is a number; =, < and > go with it, ~ does not")
    numbers = [_integer(key, word) for word in value.split(",") if word]
    if not numbers:
        raise ValueError("a number is missing")
    if operator == "=":
        if len(numbers) == 1:
            return f"{key} = {numbers[0]}"
        return f"{key} IN ({', '.join(map(str, numbers))})"
    if len(numbers) > 1:
        raise ValueError(f"one number goes with {operator}, not several")
    return f"{key} {operator} {numbers[0]}"


def _integer(key: str, word: str) -> int:
    if key == "bytes":
        return parse_size(word)
    try:
        found = int(word, 0)
    except ValueError:
        raise ValueError(f"{key} is a number, and {word!r} is none") from None
    if not -(1 << 63) <= found < 1 << 64:
        raise ValueError(f"{word} does not fit into 64 bits")
    return found


def _glob(pattern: str) -> str:
    """Only * and ? are special to who types; brackets stand in names such as pipe:[1]."""
    return pattern.replace("[", "[[]")


def _or(tests: list[str]) -> str:
    return tests[0] if len(tests) == 1 else "(" + " OR ".join(tests) + ")"
