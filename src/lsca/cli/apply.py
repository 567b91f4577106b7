# SPDX-License-Identifier: Apache-2.0
"""`lsca apply`: what was changed in an overlay is done to the real directory, and the overlay ends."""

import sys

from lsca.cli.diff import chosen, overlay_parser
from lsca.services.changes import apply

SUMMARY = "make an overlay's changes in the real directory"


def main(argv: list[str]) -> int:
    """Prints what was done."""
    options = overlay_parser("apply", SUMMARY)
    options.add_argument(
        "--force", action="store_true", help="also where the real directory has changed meanwhile"
    )
    given = options.parse_args(argv)
    state = chosen(given)
    state.lock()
    sys.stdout.writelines(f"{change}\n" for change in apply(state, force=given.force))
    return 0
