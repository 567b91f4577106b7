# SPDX-License-Identifier: Apache-2.0
"""What memory can hold: plain bytes, a structure, an array of structures; how each is written down and taken apart.

A layout's `size` is that of one element, by machine: the C side multiplies it by the argument that counts elements. A
layout with size 1 is counted in bytes.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from lsca.live.values import Structure
from lsca.table.text import MACHINES, Piece, Show, View, quote

ARRAY_SHOWN: Final = 32  # strace's limit too

ShowBytes = Callable[[Piece, View], str]
Code: TypeAlias = "str | tuple[str, Show] | Struct"


class Layout(NamedTuple):
    """Something in memory. `changes` says that a change by the call is written as [before => after].

    `shape` takes it, or each of its elements, apart, where that is known.
    """

    name: str
    size: Mapping[str, int]
    show: ShowBytes
    changes: bool = False
    shape: "Struct | None" = None

    def take_apart(self, data: bytes, machine: str) -> Structure:
        """The members of all elements that `data` holds."""
        if self.shape is None:
            return Structure(data)
        size = self.shape.size[machine]
        count = len(data) // size or 1
        parts = (data[at * size : (at + 1) * size] for at in range(count))
        return Structure(data, tuple(self.shape.values(part, machine) for part in parts))


class Field(NamedTuple):
    """A member: where it stands, and how to read it. `inner` for a structure within the structure."""

    name: str
    at: int
    code: str
    show: Show | None
    inner: "Struct | None" = None


class Struct:
    """A C structure, laid out by C's rules; a name that begins with "_" is not shown.

    A member is a code of the `struct` module ("q", "16s"), a pair of code and Show, or another Struct. `machines`
    gives members for a machine that differs, `packed` the machines where nothing is aligned. `brief` names the members
    that are shown, with "..." for the others.
    """

    def __init__(
        self,
        name: str,
        members: Mapping[str, Code],
        *,
        machines: Mapping[str, Mapping[str, Code]] | None = None,
        packed: tuple[str, ...] = (),
        brief: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.brief = brief
        self.fields: dict[str, tuple[Field, ...]] = {}
        self.size: dict[str, int] = {}
        self.align = 1
        for machine in MACHINES:
            own = (machines or {}).get(machine, members)
            self._place(machine, own, machine in packed)

    def _place(self, machine: str, members: Mapping[str, Code], packed: bool) -> None:
        at, widest, fields = 0, 1, []
        for name, code in members.items():
            if isinstance(code, Struct):
                size, align = code.size[machine], code.align
                member = partial(Field, name, code="", show=None, inner=code)
            else:
                plain, show = (code, None) if isinstance(code, str) else code
                size = struct.calcsize("=" + plain)
                align = 1 if plain.endswith("s") else struct.calcsize("=" + plain[-1])
                member = partial(Field, name, code="<" + plain, show=show)
            align = 1 if packed else align
            at = (at + align - 1) // align * align
            fields.append(member(at=at))
            at += size
            widest = max(widest, align)
        self.fields[machine] = tuple(fields)
        self.size[machine] = (at + widest - 1) // widest * widest
        self.align = max(self.align, widest)

    def values(self, data: bytes, machine: str) -> dict[str, int | bytes]:
        """The members that `data` reaches, by name; inner structures as bytes."""
        found: dict[str, int | bytes] = {}
        for member in self.fields[machine]:
            size = member.inner.size[machine] if member.inner else struct.calcsize(member.code)
            part = data[member.at : member.at + size]
            if len(part) < size:
                break
            found[member.name] = part if member.inner else struct.unpack(member.code, part)[0]
        return found

    def changed(self, data: bytes, machine: str, values: Mapping[str, int | bytes]) -> bytes:
        """`data` with some members replaced. KeyError for a name that there is not, struct.error for a wrong value."""
        members = {member.name: member for member in self.fields[machine]}
        found = bytearray(data.ljust(self.size[machine], b"\0"))
        for name, value in values.items():
            member = members[name]
            if member.inner:
                part = bytes(value) if isinstance(value, bytes) else b""
                found[member.at : member.at + member.inner.size[machine]] = part.ljust(
                    member.inner.size[machine], b"\0"
                )[: member.inner.size[machine]]
            else:
                struct.pack_into(member.code, found, member.at, value)
        return bytes(found)

    def __call__(self, piece: Piece, view: View) -> str:
        """A structure as text: {tv_sec=1, tv_nsec=0}."""
        values = self.values(piece.data, view.machine)
        brief = () if view.whole else self.brief
        parts: list[str] = []
        for member in self.fields[view.machine]:
            if member.name.startswith("_") or (brief and member.name not in brief):
                continue
            if member.name not in values:
                return "{" + ", ".join([*parts, "..."]) + "}"
            parts.append(f"{member.name}={_member(member, values[member.name], view)}")
        if brief:
            parts.append("...")
        return "{" + ", ".join(parts) + "}"


def _member(member: Field, value: int | bytes, view: View) -> str:
    if isinstance(value, bytes):
        if member.inner:
            return member.inner(Piece(value, len(value)), view)
        text = value.split(b"\0")[0]
        return quote(text, len(text), None, view.hex)
    if member.show:
        return member.show(value & 0xFFFFFFFFFFFFFFFF, view)
    return str(value)


def one(shape: Struct) -> Layout:
    """One structure."""
    return Layout(f"struct {shape.name}", shape.size, shape, shape=shape)


def array(shape: Struct) -> Layout:
    """As many structures as the length argument says."""

    def show(piece: Piece, view: View) -> str:
        size = shape.size[view.machine]
        data = piece.data
        texts = [
            shape(Piece(data[at : at + size], size), view)
            for at in range(0, len(data) - size + 1, size)[:ARRAY_SHOWN]
        ]
        if len(texts) * size < piece.full:
            texts.append("...")
        return "[" + ", ".join(texts) + "]"

    return Layout(f"struct {shape.name}[]", shape.size, show, shape=shape)


def whole(shape: Struct) -> Layout:
    """One structure whose size in bytes another argument says."""
    return Layout(f"struct {shape.name}", SIZE_1, shape, shape=shape)


def number(name: str, code: str, show: Show, *, changes: bool = False) -> Layout:
    """A single number that a pointer points to: [16]."""
    return _numbers(name, code, show, single=True, changes=changes)


def numbers(name: str, code: str, show: Show) -> Layout:
    """An array of numbers: [3, 4]."""
    return _numbers(f"{name}[]", code, show, single=False, changes=False)


def fixed(layout: Layout, count: int) -> Layout:
    """Always `count` elements, without a length argument."""
    size = {machine: size * count for machine, size in layout.size.items()}
    name = layout.name.removesuffix("[]") + f"[{count}]"
    return Layout(name, size, layout.show, shape=layout.shape)


def opaque(name: str, size: int) -> Layout:
    """A structure that is not taken apart: its bytes are shown."""
    return Layout(f"struct {name}", dict.fromkeys(MACHINES, size), _show_bytes)


def _numbers(name: str, code: str, show: Show, *, single: bool, changes: bool) -> Layout:
    width = struct.calcsize("=" + code)

    def text(piece: Piece, view: View) -> str:
        count = len(piece.data) // width
        values = struct.unpack(f"<{count}{code}", piece.data[: count * width])
        texts = [show(value & 0xFFFFFFFFFFFFFFFF, view) for value in values[:ARRAY_SHOWN]]
        if count * width < piece.full or count > ARRAY_SHOWN:
            texts.append("...")
        return "[" + ", ".join(texts[:1] if single else texts) + "]"

    shape = Struct(name, {"value": code})
    return Layout(name, dict.fromkeys(MACHINES, width), text, changes, shape)


def _show_bytes(piece: Piece, view: View) -> str:
    return quote(piece.data, piece.full, view.strings, view.hex)


def _show_random(piece: Piece, view: View) -> str:
    shown = piece.data[: view.strings]
    text = "".join(f"\\x{byte:02x}" for byte in shown)
    return f'"{text}"' + ("..." if len(shown) < piece.full else "")


SIZE_1: Final = dict.fromkeys(MACHINES, 1)
BYTES: Final = Layout("bytes", SIZE_1, _show_bytes)
RANDOM: Final = Layout("bytes", SIZE_1, _show_random)  # nothing but hex
