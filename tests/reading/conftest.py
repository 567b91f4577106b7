# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the tests that read logs."""

from reading_logs import family, lsca, sample, single

__all__ = ["family", "lsca", "sample", "single"]
