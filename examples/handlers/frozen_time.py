# SPDX-License-Identifier: Apache-2.0
"""The first second of 2030, for all programs: lsca run -s frozen_time.py -- git commit --allow-empty -m now"""

from lsca.services import time

time.frozen("2030-01-01T00:00:00+00:00")
