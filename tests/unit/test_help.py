# SPDX-License-Identifier: Apache-2.0
"""Proves `lsca help`: a page comes from the row, every call has one, and a wrong name is answered with near ones."""

import pytest

from lsca.cli import help as verb
from lsca.errors import UsageError
from lsca.table import FAMILIES, by_name, rows

WRITE = """\
write(fd, buf, count)
  write to a file descriptor

  fd     int    a descriptor
  buf    bytes  memory, read, `count` bytes
  count  int    a number

  family   transfer
  numbers  x86_64 1, aarch64 64
  waits    it may, until something happens or a signal comes
  errors   ENOSPC, EIO, EINTR, EAGAIN, EPIPE, EDQUOT, EFBIG
  proxy    completed by the proxy, which holds the descriptors
  support  full
"""


def test_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main(["write"]) == 0
    assert capsys.readouterr().out == WRITE


def test_every_call_has_a_page() -> None:
    for row in rows():
        text = verb.page(row)
        assert row.summary in text
        assert row.caveat in text


def test_overview_has_every_call_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main([]) == 0
    words = [word.rstrip("*+!-") for word in capsys.readouterr().out.split()]
    for row in rows():
        assert words.count(row.name) >= 1, row.name
    assert {row.family for row in rows()} == {f.__name__.rpartition(".")[2] for f in FAMILIES}


def test_names_of_a_number() -> None:
    lseek = by_name("lseek")
    assert lseek
    expected = "a number: one of SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE"
    assert verb.describe(lseek.arguments["whence"]) == expected


def test_unknown_call() -> None:
    with pytest.raises(UsageError, match="no system call 'wrte'; near to it: write, "):
        verb.main(["wrte"])
