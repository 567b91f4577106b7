# SPDX-License-Identifier: Apache-2.0
"""`lsca diff`, and what `lsca apply` and `lsca discard` share with it: the overlay that is meant."""

import json
import sys
from dataclasses import asdict

from lsca.cli.parser import Parser
from lsca.services.changes import changes, patch
from lsca.services.overlay import State, find

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from argparse import Namespace

SUMMARY = "show what programs have changed in an overlay"


def main(argv: list[str]) -> int:
    """Prints one line for each path. 0: nothing has changed, 1: something has, as diff(1) says it."""
    options = overlay_parser("diff", SUMMARY)
    options.add_argument(
        "--patch", action="store_true", help="show text files as a patch for `patch -p1`"
    )
    options.add_argument("--json", action="store_true", help="one object for each path")
    given = options.parse_args(argv)
    state = chosen(given)
    found = changes(state)
    if given.patch:
        sys.stdout.writelines(patch(state, found))
    elif given.json:
        sys.stdout.writelines(json.dumps(asdict(change)) + "\n" for change in found)
    else:
        sys.stdout.writelines(f"{change}\n" for change in found)
    return 1 if found else 0


def overlay_parser(verb: str, summary: str) -> Parser:
    """Options that say which overlay is meant."""
    options = Parser(prog=f"lsca {verb}", description=summary)
    options.add_argument(
        "directory", nargs="?", help="of which the overlay is; by default this one, or one above it"
    )
    options.add_argument(
        "--state", metavar="DIR", help="where the overlay is kept, if `lsca run` was told"
    )
    return options


def chosen(given: "Namespace") -> State:
    """The overlay. OverlayError."""
    return find(given.directory, given.state)
