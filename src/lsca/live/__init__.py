# SPDX-License-Identifier: Apache-2.0
"""What a live call refers to: its process, its descriptors, its addresses, the values in its memory.

Below the table, whose rows become calls with the help of these. Everything here is read when it is asked for, and
nothing is kept that the program could change meanwhile.
"""
