# SPDX-License-Identifier: Apache-2.0
"""What a program does to $TRIAL is kept apart: TRIAL=src lsca run -s trial.py -- rsync -a new/ src/; lsca diff src"""

import os

from lsca.services.overlay import overlay

overlay(os.environ["TRIAL"])
