# SPDX-License-Identifier: Apache-2.0
"""`lsca files FILE`: what a run did to files."""

import json
import sys

from lsca.cli.output import output, remarks, write_lines
from lsca.cli.parser import Parser
from lsca.log import open_log
from lsca.log.colour import WHENS, Paint, wants_colour
from lsca.log.files import KINDS, SORTS, Files, facts, lines
from lsca.log.filters import paths

SUMMARY = "list the files of a log: read, written, created, deleted, missed"

WORDS = {
    "read": "bytes were read from it",
    "written": "bytes were written to it",
    "created": "it was created, or opened so that it would have been",
    "deleted": "it was removed",
    "renamed": "it got another name",
    "missed": "it was looked for and was not there",
}


def main(argv: list[str]) -> int:
    """Prints one line for each file, or one JSON object."""
    parser = Parser(
        prog="lsca files",
        description="List the files that a run touched, by path: how often each was opened, the bytes read and "
        "written, how often it was created, deleted, renamed, or missed (ENOENT), and by how many processes.",
    )
    parser.add_argument("file", metavar="FILE")
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}",
            dest="kinds",
            action="append_const",
            const=kind,
            default=[],
            help=f"only where {WORDS[kind]}",
        )
    parser.add_argument(
        "-P",
        dest="paths",
        action="append",
        default=[],
        metavar="PATH",
        help="only this path and what is below it, or what matches a pattern such as '*.so'",
    )
    parser.add_argument(
        "--sort", default="path", metavar="COLUMN", help=f"by {', '.join(SORTS)} (default: path)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--color", "--colour", dest="color", choices=WHENS, default="auto")
    options = parser.parse_args(argv)
    below = paths(options.paths)
    log = open_log(options.file)
    files = Files.of(log).chosen(options.kinds, below, options.sort)
    with output(None) as stream:
        if options.json:
            write_lines((json.dumps(facts(file)) for file in files), stream)
        else:
            write_lines(lines(files, Paint(wants_colour(options.color, sys.stdout))), stream)
    remarks(log)
    return 0
