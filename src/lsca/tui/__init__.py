# SPDX-License-Identifier: Apache-2.0
"""Looking at a log afterwards (`lsca view`) and at runs as they go (`lsca top`), in a terminal.

Only the two verbs import this, and only when they are called: it needs the extra `lsca[tui]` (Textual and DuckDB).
`rates` does without either, for `lsca top --once`.
"""
