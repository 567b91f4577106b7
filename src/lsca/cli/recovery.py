# SPDX-License-Identifier: Apache-2.0
"""`lsca log --recover [FILE]`, `--dump WHICH -o FILE`, `--areas`: logs whose records are still in memory.

Called by `lsca log` when one of these words is the first; they share nothing else with it.
"""

from lsca.cli.parser import Parser
from lsca.errors import OWN_FAILURE, UsageError
from lsca.log import recover

WORDS = ("--recover", "--dump", "--areas")


def is_asked(argv: list[str]) -> bool:
    """Whether these words are about records in memory."""
    return any(word.partition("=")[0] in WORDS for word in argv)


def main(argv: list[str]) -> int:
    """Does one of the three. The exit code is 0 if nothing has failed."""
    parser = Parser(
        prog="lsca log --recover",
        usage="lsca log --recover [FILE] | --dump WHICH -o FILE | --areas",
        description=__doc__.split("\n\n")[0],
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--recover",
        action="store_true",
        help="bring what killed runs have left in memory into FILE, or into all",
    )
    what.add_argument(
        "--dump", metavar="WHICH", help="write what a run has in memory now, by process id or name"
    )
    what.add_argument(
        "--areas", action="store_true", help="list the logs that have records in memory"
    )
    parser.add_argument("-o", dest="output", metavar="FILE", help="where --dump writes")
    parser.add_argument("file", nargs="?", help="the log that --recover is about")
    options = parser.parse_args(argv)
    if options.areas:
        print("\n".join(recover.areas()) or "no log has records in memory")
        return 0
    if options.dump is not None:
        if not options.output:
            raise UsageError("--dump wants to be told where to write: -o FILE")
        print(f"{options.output}: {recover.dump(options.dump, options.output)} records")
        return 0
    posted = [] if options.file else recover.recover_posted()
    found = recover.recover(options.file)
    for one in (*posted, *found):
        print(one)
    if not found and not posted:
        print("no log has records in memory that nobody takes care of")
    return OWN_FAILURE if any(one.state == "failed" for one in found) else 0
