# SPDX-License-Identifier: Apache-2.0
"""`lsca discard`: forgets what was changed in an overlay."""

from lsca.cli.diff import chosen, overlay_parser

SUMMARY = "forget an overlay's changes"


def main(argv: list[str]) -> int:
    """Removes the overlay; the real directory was never touched."""
    state = chosen(overlay_parser("discard", SUMMARY).parse_args(argv))
    state.lock()
    state.discard()
    return 0
