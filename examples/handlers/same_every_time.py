# SPDX-License-Identifier: Apache-2.0
"""A run that another machine repeats: lsca run -s same_every_time.py -- sqlite3 :memory: 'select random()'"""

from lsca.services import identity, time

time.clock("@2030-01-01T00:00:00+00:00")
identity.hostname("somewhere")
identity.user("nobody-else", 1234)
identity.randomness(42)
