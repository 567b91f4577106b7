# SPDX-License-Identifier: Apache-2.0
"""`python -m lsca` is `lsca`."""

from lsca.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
