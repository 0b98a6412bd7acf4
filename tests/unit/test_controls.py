"""The table of controls in docs is that of the code."""

from __future__ import annotations

import pytest

from infra.site import REPO
from tests import controls

TABLE = REPO / "docs" / "controls.md"


def test_the_table_of_controls_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = controls.page()
    if request.config.getoption("--update-golden"):
        TABLE.write_text(text)
    assert text == TABLE.read_text()


def test_every_check_in_the_table_has_been_turned_red_or_says_why_not() -> None:
    lines = [line for line in controls.page().splitlines() if line.startswith("| ")]
    assert not [line for line in lines if "stack:  |" in line or "stack: <br>" in line or line.endswith("stack:  |")]
