# SPDX-License-Identifier: Apache-2.0
"""The filter of `lsca view`: which calls each kind of term leaves, and what is said of terms that make no sense.

Each condition is run by DuckDB on a small log, so that it is proved to be SQL as well as to be right.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logtables import ORIGIN, Fake, sample
from lsca.errors import UsageError
from lsca.tui.filter import Context, FilterError, split, term, where

CONTEXT = Context(ORIGIN)


@pytest.fixture(scope="module")
def log() -> Fake:
    return sample()


def names(log: Fake, text: str) -> dict[str, int]:
    """How many calls of each name a filter leaves."""
    condition = where(text, CONTEXT)
    found = log.sql(
        f"SELECT name, count(*) FROM calls {'WHERE ' + condition if condition else ''} GROUP BY 1"
    )
    return dict(found.fetchall())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("name=read", {"read": 1}),
        ("call=read,wait4", {"read": 1, "wait4": 2}),
        ("name=wait*", {"wait4": 2}),
        ("name~ai", {"wait4": 2}),
        ("error=ENOENT", {"openat": 20}),
        ("error=* pid=12", {"recvfrom": 1}),
        ("pid=12 error!=ECONNRESET", {"execve": 1, "connect": 1, "sendto": 1}),
        ("!error=* name=openat", {"openat": 1}),
        ("pid=11 tid!=11", {"write": 150}),
        ("path=/src/a.h", {"openat": 1, "read": 1}),
        ("path~/src/a", {"openat": 1, "read": 1}),
        ("path=*.h name!=openat", {"read": 1}),
        ("path~*.o !name=write", {"close": 1}),
        ("peer=127.0.0.1:80", {"connect": 1, "sendto": 1, "recvfrom": 1}),
        ("peer~:80 bytes>=0", {"sendto": 1}),
        ("file=socket:[7]", {"connect": 1}),
        ("file=socket:[*", {"connect": 1}),
        (">100ms", {"wait4": 2, "recvfrom": 1}),
        ("duration<=0.4s >100ms", {"wait4": 1, "recvfrom": 1}),
        ("bytes>1k", {"read": 1}),
        ("bytes=4k", {"read": 1}),
        ("ret<0 after=0.5s", {"recvfrom": 1}),
        ("before=50ms !openat", {"execve": 1}),
        ("after=0.9s", {"exit_group": 1}),
        ("program=curl", {"execve": 1, "connect": 1, "sendto": 1, "recvfrom": 1}),
        ("program=/bin/sh name=read", {"read": 1}),
        ("family=sockets", {"connect": 1, "sendto": 1, "recvfrom": 1}),
        ("route=proxy", {}),
        ("trapped=yes", {}),
        ("arg1=0x1234", {"openat": 1}),
        ("fd=4,5 sendto", {"sendto": 1}),
        ("a.h", {"openat": 1, "read": 1}),
        ("CURL", {}),
        ("'a b.c'", {"execve": 1}),
        ('argv~"a b"', {"execve": 1}),
        ("a.?", {"openat": 1, "read": 1}),
        ("%", {}),
        ("it's", {}),
    ],
)
def test_what_is_left(log: Fake, text: str, left: dict[str, int]) -> None:
    assert names(log, text) == left


def test_no_term_leaves_all(log: Fake) -> None:
    assert where("  ") == ""
    assert sum(names(log, "").values()) == log.sql("SELECT count(*) FROM calls").fetchall()[0][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nmae=read", "there is no column 'nmae'; did you mean name"),
        ("zzz=1", "there are name, error"),
        ("name=raed", "there is no system call 'raed'; near to it: read"),
        ("error=ENOFILE", "there is no error 'ENOFILE'; near to it: ENFILE"),
        ("family=network", "there is no family 'network'"),
        ("route=moon", "near to it: kernel, proxy, local, handler"),
        ("pid=me", "pid is a number, and 'me' is none"),
        ("pid=1,x", "'x' is none"),
        ("pid>1,2", "one number goes with >"),
        ("pid~1", "pid is a number; =, < and > go with it"),
        ("pid=99999999999999999999", "64 bits"),
        ("bytes>much", "a number is wanted"),
        (">1parsec", "a time wants a unit: ns, us, ms"),
        (">5", "a time wants a unit"),
        ("duration~1ms", "duration is a time"),
        ("after>1s", "after wants ="),
        ("name>3", "name is a text"),
        ("program<x", "program is a text"),
        ("trapped=maybe", "trapped is yes or no"),
        ("name=", "a value is missing"),
        ("=read", "a column is missing before ="),
        ("name=,", "a value is missing"),
        ("pid=,", "a number is missing"),
    ],
)
def test_what_makes_no_sense(text: str, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        where(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{text}: ")
    assert isinstance(caught.value, UsageError)


def test_split_keeps_quoted_spaces() -> None:
    assert split(""" a  path="/x y" 'b c' d='e""") == ["a", "path=/x y", "b c", "d=e"]


@given(st.text(st.characters(exclude_characters="'\"", exclude_categories=["Cs"]), min_size=1))
def test_a_link_finds_what_it_names(value: str) -> None:
    """What a row holds and what is typed for it are the same, whatever the name of a file."""
    assert split(term("path", value)) == [f"path={value}"]


@given(st.text(max_size=30))
def test_nothing_typed_breaks_it(text: str) -> None:
    """Any line at all is SQL that DuckDB understands, or explained."""
    try:
        condition = where(text, CONTEXT)
    except FilterError as error:
        assert str(error)
        return
    if condition and "\0" not in condition:
        _EMPTY.sql(f"SELECT count(*) FROM calls WHERE {condition}").fetchall()


_EMPTY = Fake()
_EMPTY.process(1, 0, 0, 1)


def test_the_terms_of_the_documentation() -> None:
    """Every term in the table of docs/view.md is one."""
    page = (Path(__file__).parents[2] / "docs" / "view.md").read_text()
    table = page.partition("| term | the calls |")[2].partition("\n\n")[0]
    terms = [
        term
        for line in table.splitlines()[2:]
        for term in re.findall("`(.+?)`", line.split("|")[1])
    ]
    assert len(terms) > 15
    for one in terms:
        assert where(one), one
