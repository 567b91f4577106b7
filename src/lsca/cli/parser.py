# SPDX-License-Identifier: Apache-2.0
"""An argument parser whose errors are ours: printed in one place, with the exit code of a failure of lsca's own."""

import argparse
from typing import NoReturn

from lsca.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse's, with UsageError for what it does not understand."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")
