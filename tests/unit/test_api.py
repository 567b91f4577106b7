# SPDX-License-Identifier: Apache-2.0
"""docs/api.md is what the docstrings say now, and leaves out no public name."""

import api_page
import lsca


def test_the_page_is_true() -> None:
    assert api_page.PAGE.read_text() == api_page.text(), "run `make api`"


def test_every_public_name_is_on_it() -> None:
    text = api_page.text()
    for name in set(lsca.__all__) - {"__version__"}:
        assert f"`lsca.{name}`" in text, name
