# SPDX-License-Identifier: Apache-2.0
"""Values of arguments that know more than their type says: a number with its names, a structure with its members.

Both are what they are called for the type checker, `int` and `bytes`, and can be used as such.
"""

from collections.abc import Mapping

Members = Mapping[str, int | bytes]


class Number(int):
    """A number that has names: `str` gives them, "O_WRONLY|O_CREAT"."""

    text: str

    def __new__(cls, value: int, text: str) -> "Number":
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text


class Structure(bytes):
    """Memory that the table can take apart.

    `elements` has one mapping for each element of an array, `fields` is the first of them: `statbuf.fields["st_size"]`.
    Both are empty for what the table does not know and for memory that cannot be read.
    """

    elements: tuple[Members, ...]

    def __new__(cls, data: bytes = b"", elements: tuple[Members, ...] = ()) -> "Structure":
        self = super().__new__(cls, data)
        self.elements = elements
        return self

    @property
    def fields(self) -> Members:
        return self.elements[0] if self.elements else {}
