# SPDX-License-Identifier: Apache-2.0
"""Logs whose launcher was killed: what was still in memory is brought into their files, and the memory given back.

The memory of a log is a file of its own (`/dev/shm/lsca-UID-...`) that survives whoever is killed. Usually whoever is
left of a run brings it to its end; this is for when nobody was. It may be done at any time and again: nothing comes
twice. A flight recorder's memory can be looked at while it flies.
"""

import os
from dataclasses import dataclass

from lsca import _native
from lsca.errors import LogError


@dataclass(frozen=True, slots=True)
class Recovered:
    """One orphan. `state`: "done", "alive" (its programs still run; what was there is in the file) or "failed"."""

    name: str
    state: str
    records: int
    output: str
    text: str

    def __str__(self) -> str:
        log = self.output or "a log that went to no file"
        brought = f"{log}: {self.records} records brought in"
        if self.state == "done":
            return f"{brought}; {self.text}" if self.text else f"{brought}, the log is complete"
        if self.state == "alive":
            return f"{brought}; {self.text}"
        return f"{log}: its last records stay in memory ({_native.AREA_DIRECTORY}/{self.name}): {self.text}"


def recover(path: str | None = None) -> list[Recovered]:
    """Brings every orphan of this user to its end, or only that of the log at `path`.

    A log that was moved meanwhile is found by what stands in it, if there is only one orphan that it can belong to.
    LogError if `path` has none.
    """
    names = _native.area_list()
    if path is None:
        return [one for name in names if (one := _recover(name, None)) is not None]
    where = os.path.abspath(path)
    if not os.path.exists(where):
        raise LogError(f"{path} is not there")
    named = [name for name in names if _output(name) == where]
    for name in named or names:
        one = _recover(name, None if named else os.fsencode(where))
        if one is not None and (named or one.state != "failed"):
            return [one]
    raise LogError(
        f"{path} has no records in memory: either it is complete, or its run still goes on"
    )


def recover_posted(left: "list[tuple[str, int, int]] | None" = None) -> list[str]:
    """Writes what killed runs have left posted (docs/post.md); a line about each of them that had something.

    `left`: what `_native.post_recover` has done already.
    """
    found = []
    for name, written, lost in _native.post_recover() if left is None else left:
        if written:
            found.append(f"{written} posted bytes that a killed run had left are in their files")
        if lost:
            found.append(
                f"{lost} posted bytes of a killed run ({name}) had no file to go to any more"
            )
    return found


def dump(which: str, path: str) -> int:
    """Writes what a run has in memory right now as a log of its own; how many records. LogError.

    `which`: the number of a process of the run (its launcher or its first program), or the name of the memory.
    """
    found = [name for name in _native.area_list() if which in _names(name)]
    if not found:
        raise LogError(
            f"there is no run with a log whose launcher or first program is {which!r}; `lsca log --areas` lists them"
        )
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        return _native.area_dump(found[0], fd)
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error.strerror}") from error


def areas() -> list[str]:
    """One line for each log of this user that has records in memory."""
    lines = []
    for name in _native.area_list():
        try:
            about = _native.area_about(name)
        except (OSError, ValueError) as error:
            lines.append(f"{name}: {error}")
            continue
        kind = f", the last {about['flight']} calls" if about["flight"] else ""
        lines.append(
            f"{name}: launcher {about['launcher']}, program {about['program']}, log {about['output'] or '-'}{kind}"
        )
    return lines


def _recover(name: str, output: bytes | None) -> Recovered | None:
    state, records, where, text = _native.area_recover(name, output)
    if state == "owned":
        return None
    return Recovered(name, state, records, os.fsdecode(output) if output else where, text)


def _output(name: str) -> str:
    try:
        return _native.area_about(name)["output"]
    except (OSError, ValueError):
        return ""


def _names(name: str) -> tuple[str, ...]:
    try:
        about = _native.area_about(name)
    except (OSError, ValueError):
        return ()
    return name, f"{_native.AREA_DIRECTORY}/{name}", str(about["launcher"]), str(about["program"])
