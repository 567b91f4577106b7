# SPDX-License-Identifier: Apache-2.0
"""`lsca flags`: what the linker, or LD_PRELOAD, must be told so that a program brings the agent along.

    cc program.c $(lsca flags)
    LD_PRELOAD=$(lsca flags --preload) program

The words go through a shell and through the compiler's -Wl, so a path that either would take apart is refused.
"""

import argparse
import os

from lsca.errors import LscaError
from lsca.session import AGENT, LIBRARY

SUMMARY = "print what the linker, or LD_PRELOAD, needs to put the agent into a program"


def main(argv: list[str]) -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(
        prog="lsca flags",
        description="Print the compiler's options that link a program to the agent: cc program.c $(lsca flags). "
        "The program is caught if LSCA_DAEMON names the socket of a running `lsca daemon`.",
    )
    parser.add_argument(
        "--preload", action="store_true", help="print the agent's path instead, for LD_PRELOAD"
    )
    options = parser.parse_args(argv)
    if not os.path.exists(AGENT):
        raise LscaError(f"{AGENT} is missing; `make native` builds it")
    print(preload(AGENT) if options.preload else link(LIBRARY))
    return 0


def preload(agent: str) -> str:
    """The path for LD_PRELOAD, where colons and white space divide names. LscaError."""
    _refuse(agent, ":")
    return agent


def link(library: str) -> str:
    """The options for gcc or clang. The agent is needed although no symbol of it is. LscaError."""
    _refuse(library, ":,$")
    return (
        f"-L{library} -Wl,-rpath,{library} "
        "-Wl,--push-state,--no-as-needed -l:lsca-agent.so -Wl,--pop-state"
    )


def _refuse(path: str, special: str) -> None:
    for character in path:
        if character in special or character.isspace() or character in "'\"\\*?[]":
            raise LscaError(
                f"{path} contains {character!r}, which cannot be written there; "
                "make a link to the directory without it, and install from there"
            )
