# SPDX-License-Identifier: Apache-2.0
"""`lsca tree FILE`: the processes of a run, who started whom, what ran in them, and how each ended."""

import json
import sys

from lsca.cli.output import output, remarks, terminal_width, write_lines
from lsca.cli.parser import Parser
from lsca.log import open_log
from lsca.log.colour import WHENS, Paint, wants_colour
from lsca.log.processes import Processes
from lsca.log.tree import facts, lines

SUMMARY = "show the processes of a log as a tree"


def main(argv: list[str]) -> int:
    """Prints the tree, or a JSON array of the processes without a parent."""
    parser = Parser(
        prog="lsca tree",
        description="Show the processes of a log: who started whom, when (since the first began), for how long, "
        "how many calls it made, how many failed, what time went into them, and how it ended. "
        "A process that went on with another program has a line for each, marked with =.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--json", action="store_true", help="as JSON, children within their parents"
    )
    parser.add_argument("--color", "--colour", dest="color", choices=WHENS, default="auto")
    options = parser.parse_args(argv)
    log = open_log(options.file)
    roots = Processes.of(log).roots
    with output(None) as stream:
        if options.json:
            stream.write(json.dumps([facts(root) for root in roots], indent=2) + "\n")
        else:
            paint = Paint(wants_colour(options.color, sys.stdout))
            unicode = (getattr(stream, "encoding", None) or "").lower().startswith("utf")
            write_lines(lines(roots, paint, unicode=unicode, width=terminal_width(stream)), stream)
    remarks(log)
    return 0
