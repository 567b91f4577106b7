# SPDX-License-Identifier: Apache-2.0
"""What is built of handlers with nothing but the public `lsca`: faults."""
