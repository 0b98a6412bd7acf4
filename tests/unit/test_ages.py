"""When a secret was set is remembered by name and day, and an old one is told of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra import ages
from infra.site import Site


def test_a_secret_is_as_old_as_its_last_value(tmp_path: Path) -> None:
    site, today = Site(tmp_path), datetime.now(UTC).date()
    ages.note(site, "local", "operator")
    ages.note(site, "local", "minio-root")
    assert ages.read(site, "local") == {"operator": today, "minio-root": today}
    known = {"operator": (today - timedelta(days=400)).isoformat(), "minio-root": today.isoformat()}
    site.ages("local").write_text(json.dumps(known))
    assert ages.old(site, "local", 365) == {"operator": 400}
    ages.note(site, "local", "operator")
    assert ages.old(site, "local", 365) == {}


def test_a_stack_of_an_earlier_release_knows_no_ages(tmp_path: Path) -> None:
    assert ages.old(Site(tmp_path), "local", 1) == {}
