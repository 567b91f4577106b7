# SPDX-License-Identifier: Apache-2.0
"""`lsca explore`: a program is run again and again, each time with one other call failing, and then judged.

`sites` finds in a log what can fail, `trial` runs the program once, `judge` compares with runs in which nothing failed,
`campaign` does all of it, in parallel and in a fixed order.
"""

from lsca.exploring.campaign import Campaign, Settings
from lsca.exploring.judge import KINDS, Finding

__all__ = ["KINDS", "Campaign", "Finding", "Settings"]
