"""What verifiers of others say of a server, bare and prepared; ``python -m tests.verifiers`` writes it down."""

from __future__ import annotations

import pytest

from tests import verifiers

LEAST = 85
"""Of Lynis' hardening index."""


@pytest.mark.long
def test_lynis_finds_a_prepared_server_hardened_and_a_bare_one_not() -> None:
    with verifiers.hosts("13", "before", "after") as (bare, prepared):
        before = verifiers.lynis(bare)
        prepared.together(verifiers.told())
        after = verifiers.lynis(prepared)
    assert before.version == after.version
    assert before.index < LEAST <= after.index, after.suggestions


@pytest.mark.long
def test_of_openscaps_rules_a_prepared_server_keeps_more() -> None:
    with verifiers.hosts("13", "rules") as (source,):
        rules = verifiers.content(source)
    with verifiers.hosts("12", "before-12", "after-12") as (bare, prepared):
        _, before = verifiers.openscap(bare, rules)
        prepared.together(verifiers.told())
        _, after = verifiers.openscap(prepared, rules)
    assert all(after[profile]["fail"] <= before[profile]["fail"] for profile in verifiers.PROFILES), (before, after)
    strictest = verifiers.PROFILES[-1]
    assert after[strictest]["pass"] > before[strictest]["pass"] > 0
