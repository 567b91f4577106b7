# SPDX-License-Identifier: Apache-2.0
"""What a call does to its process's descriptors, as data on its row: `effect=OPENS`, `effect=by(Does.CLOSES, "fd")`.

From these the reader of a log works out what a descriptor stood for at a time (native/log/resolve.c, through the plans
that `lsca.codegen` makes). A working directory counts as a descriptor, AT_FDCWD. `Moves` says for whom a result counts
bytes, `Names` which calls make the agent forget what descriptors stand for (native/agent/names.c), `Posts` which must
find what was posted in its file (native/agent/post/files.c).
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Does(StrEnum):
    """`enum effect` of native/log/plan.h, which says when each of them takes place."""

    OPENS = "EFFECT_OPENS"
    MAKES = "EFFECT_MAKES"
    SOCKET = "EFFECT_SOCKET"
    PIPE = "EFFECT_PIPE"
    SOCKETPAIR = "EFFECT_SOCKETPAIR"
    ACCEPTS = "EFFECT_ACCEPTS"
    DUPLICATES = "EFFECT_DUPLICATES"
    FCNTL = "EFFECT_FCNTL"
    CLOSES = "EFFECT_CLOSES"
    CLOSES_RANGE = "EFFECT_CLOSES_RANGE"
    LOCAL = "EFFECT_LOCAL"
    PEER = "EFFECT_PEER"
    CHDIR = "EFFECT_CHDIR"
    FCHDIR = "EFFECT_FCHDIR"
    FORKS = "EFFECT_FORKS"
    CLONES = "EFFECT_CLONES"
    CLONES_3 = "EFFECT_CLONES_3"
    UNSHARES = "EFFECT_UNSHARES"


class Moves(StrEnum):
    """A result that is a number of bytes: read from the call's first descriptor, or written to it.

    Where there is a second descriptor, the bytes go to it, or come from it.
    """

    IN = "MOVES_IN"
    OUT = "MOVES_OUT"


class Names(StrEnum):
    """Of what a call may change the name, by which /proc/PID/fd shows descriptors: `enum call_names` of calls.h.

    A row says so where its effect does not.
    """

    ALL = "NAMES_OF_ALL"
    UNKNOWN = "NAMES_UNKNOWN"


class Posts(StrEnum):
    """What a call means for files whose writes are posted: `enum call_posts` of calls.h.

    A row says so where it is not what its arguments suggest: a call with a path looks at files, one with a descriptor
    may do anything with it.
    """

    WRITES = "POSTS_WRITES"
    GATHERS = "POSTS_GATHERS"
    MOVES = "POSTS_MOVES"
    LOOKS = "POSTS_LOOKS"
    SYNCS = "POSTS_SYNCS"
    CLOSES = "POSTS_CLOSES"
    FCNTL = "POSTS_FCNTL"
    ALL = "POSTS_ALL"
    OPENS = "POSTS_OPENS"
    PASSES = "POSTS_PASSES"
    MAPS = "POSTS_MAPS"
    MESSAGES = "POSTS_MESSAGES"
    LIMITS = "POSTS_LIMITS"
    RANGES = "POSTS_RANGES"
    ENDS = "POSTS_ENDS"
    NOTHING = "POSTS_NOTHING"


class Effect(NamedTuple):
    """`args`: arguments it needs, by name. `text`: what the new descriptor is called; {} is the string at args[0]."""

    does: Does
    args: tuple[str, ...] = ()
    text: str = ""


OPENS: Final = Effect(Does.OPENS)  # the result stands for the call's path
CHDIR: Final = Effect(Does.CHDIR)
FORKS: Final = Effect(Does.FORKS)
UNKNOWN: Final = Effect(Does.MAKES)  # the result stands for nothing that the log tells


def new(text: str, *args: str) -> Effect:
    """The result is a new descriptor that /proc/PID/fd would call so."""
    return Effect(Does.MAKES, args, text)


def by(does: Does, *args: str) -> Effect:
    """An effect with its arguments."""
    return Effect(does, args)
