# SPDX-License-Identifier: Apache-2.0
"""Build hook of hatchling: builds the native parts with make, so that a wheel contains them.

Runs for wheels and for editable installs alike; when `make native` has been run already, it costs a few milliseconds.
The wheel is tagged for this machine and for every CPython from 3.11 on, because the extension uses the limited API.
"""

import os
import subprocess
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuild(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # A make above us would hand down a job server that does not survive pip.
        drop = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        env = {name: value for name, value in os.environ.items() if name not in drop}
        command = ["make", "--no-print-directory", "native", f"PYTHON={sys.executable}"]
        subprocess.run(command, cwd=self.root, env=env, check=True)
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
