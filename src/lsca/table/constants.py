# SPDX-License-Identifier: Apache-2.0
"""Named constants: one of several (`Enum`) or several together (`Flags`), each callable as a `Show`.

They are written as one string, "NAME=value NAME NAME=value": a name without a value follows the one before it, by
one in an Enum and by the next bit in Flags. Values are those of the kernel's headers.
"""

from collections.abc import Iterator

from lsca.table.text import View


def parse(text: str, *, bits: bool) -> Iterator[tuple[str, int]]:
    """The names and values of a string of constants."""
    following = 1 if bits else 0
    for word in text.split():
        name, _, number = word.partition("=")
        value = int(number, 0) if number else following
        following = value << 1 if bits else value + 1
        yield name, value


class Enum:
    """One of several names; what has none is written as a number, with a comment that says what it should have been.

    The number is hexadecimal, unless `decimal`.
    """

    def __init__(
        self, text: str, *, unknown: str = "", bits: int = 32, decimal: bool = False
    ) -> None:
        self.names = {value: name for name, value in reversed(list(parse(text, bits=False)))}
        self.values = dict(parse(text, bits=False))
        self.unknown, self.decimal = unknown, decimal
        self.mask = (1 << bits) - 1

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def __call__(self, value: int, view: View) -> str:
        name = self.name(value & self.mask)
        if name is not None:
            return name
        if self.decimal:
            return str(value & self.mask)
        return f"{value & self.mask:#x}" + (f" /* {self.unknown} */" if self.unknown else "")

    def name(self, value: int) -> str | None:
        return self.names.get(value, self.names.get(value - (self.mask + 1)))


class Flags:
    """Several names joined by "|".

    `base` is an Enum for the bits of `mask` (the access mode of open), written first, or last with `base_last`. What
    has no name follows in hex. `zero` is written for 0. `others` has texts for machines whose values differ.
    """

    def __init__(
        self,
        text: str,
        *,
        base: Enum | None = None,
        mask: int = 0,
        base_last: bool = False,
        zero: str = "0",
        others: dict[str, str] | None = None,
    ) -> None:
        self.text = list(parse(text, bits=True))
        self.values = dict(self.text)
        self.base, self.mask, self.base_last, self.zero = base, mask, base_last, zero
        self.others = {
            machine: list(parse(text, bits=True)) for machine, text in (others or {}).items()
        }

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def __call__(self, value: int, view: View) -> str:
        parts = []
        rest = value & ~self.mask
        for name, bits in self.others.get(view.machine, self.text):
            if bits and rest & bits == bits:
                parts.append(name)
                rest &= ~bits
        if rest:
            parts.append(f"{rest:#x}")
        if self.base and (first := self.base.name(value & self.mask)) is not None:
            parts.insert(len(parts) if self.base_last else 0, first)
        elif value & self.mask:
            parts.insert(len(parts) if self.base_last else 0, f"{value & self.mask:#x}")
        return "|".join(parts) or self.zero
