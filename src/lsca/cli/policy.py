# SPDX-License-Identifier: Apache-2.0
"""`lsca policy`: checks a policy, or prints what one may say."""

import json
import sys

from lsca.cli.parser import Parser
from lsca.errors import UsageError

SUMMARY = "check a policy for `lsca run --policy`, or print its schema"


def main(argv: list[str]) -> int:
    """Says nothing about a policy that is in order; the error of one that is not is printed in the usual place."""
    parser = Parser(
        prog="lsca policy",
        description="Check a policy: tables, keys, patterns, addresses and names of calls. `lsca learn` writes one.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?")
    parser.add_argument(
        "--schema", action="store_true", help="print what a policy may say, as a JSON schema"
    )
    options = parser.parse_args(argv)
    if options.schema:
        from lsca.services.policy.schema import SCHEMA

        sys.stdout.write(json.dumps(SCHEMA, indent=2) + "\n")
        return 0
    if options.file is None:
        raise UsageError("no policy is named; see `lsca policy --help`")
    from lsca.services.policy import Policy

    Policy(options.file)
    return 0
