# SPDX-License-Identifier: Apache-2.0
"""Reads a policy: TOML, checked by the schema. What is wrong is said with file, line and key, and what was meant."""

import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from lsca.errors import HandlerError, near
from lsca.services.policy.schema import SCHEMA

HEADER: Final = re.compile(r"\s*\[\s*([\w.\s-]+?)\s*\]\s*(?:#.*)?")
KEY: Final = re.compile(r"\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*=")


class PolicyError(HandlerError):
    """A policy that cannot be as it is written."""


class Source:
    """A policy's text: finds the line of what it says."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines = text.splitlines()

    def line(self, path: str, value: str | None = None) -> int:
        """Where `files.deny.read` stands, or a value of it; 0 if that cannot be said."""
        table, at = "", 0
        for number, line in enumerate(self._lines, 1):
            if header := HEADER.fullmatch(line):
                table = re.sub(r"\s", "", header[1])
                if table == path:
                    at = at or number
            elif key := KEY.match(line):
                name = re.sub(r"\s", "", key[1])
                if (f"{table}.{name}" if table else name) == path:
                    at = number
                    break
        if at and value is not None:
            quoted = (f'"{value}"', f"'{value}'")
            for number in range(at, len(self._lines) + 1):
                if any(one in self._lines[number - 1] for one in quoted):
                    return number
        return at

    def place(self, path: str, value: str | None = None) -> str:
        line = self.line(path, value)
        return f"{self.name}:{line}" if line else self.name

    def wrong(self, text: str, path: str, value: str | None = None) -> PolicyError:
        return PolicyError(f"{self.place(path, value)}: {path}: {text}")


def read(path: str | os.PathLike[str]) -> tuple[Source, Mapping[str, Any]]:
    """A policy's text and what it says. PolicyError."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as f:
            text = f.read().decode("utf-8")
    except OSError as error:
        raise PolicyError(f"the policy {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{name}: it is not UTF-8: {error.reason} at byte {error.start}"
        ) from None
    return parse(name, text)


def parse(name: str, text: str) -> tuple[Source, Mapping[str, Any]]:
    """The same for a text. PolicyError."""
    source = Source(name, text)
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        words = re.sub(r" \(at line.*\)", "", str(error))
        place = f"{name}:{found[1]}" if found else name
        raise PolicyError(f"{place}: this is no TOML: {words}") from None
    _check(source, said, SCHEMA, "")
    return source, said


def _check(source: Source, said: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> None:
    known = schema["properties"]
    for key, value in said.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            hint = near(key, known) or f"; there are {', '.join(known)}"
            what = "table" if isinstance(value, dict) else "key"
            raise source.wrong(f"there is no such {what}{hint}", here)
        wanted = known[key]
        if "enum" in wanted:
            if value not in wanted["enum"]:
                raise source.wrong(f'"allow" or "deny" is wanted, not {value!r}', here)
        elif wanted["type"] == "object":
            if not isinstance(value, dict):
                raise source.wrong(f"this is a table, [{here}], not {value!r}", here)
            _check(source, value, wanted, here)
        elif not isinstance(value, list):
            raise source.wrong(f"a list is wanted, as [{value!r}]".replace("'", '"'), here)
        else:
            for one in value:
                if not isinstance(one, str) or not one:
                    raise source.wrong(f"patterns are texts, not {one!r}", here)
