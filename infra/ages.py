"""When each secret of a stack was last set: days by name, in the site folder. Never a value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from infra import atomic
from infra.site import Site


def note(site: Site, stack: str, name: str) -> None:
    """The secret was set today."""
    known = read(site, stack) | {name: datetime.now(UTC).date()}
    path = site.ages(stack)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(path, json.dumps({name: day.isoformat() for name, day in sorted(known.items())}, indent=1))


def read(site: Site, stack: str) -> dict[str, date]:
    """Day by name; a secret that was set by an earlier release is not among them."""
    try:
        found = json.loads(site.ages(stack).read_text())
    except FileNotFoundError:
        return {}
    return {name: date.fromisoformat(day) for name, day in found.items()}


def old(site: Site, stack: str, days: int) -> dict[str, int]:
    """Days by name of the secrets that are older than ``days``."""
    today = datetime.now(UTC).date()
    ages = {name: (today - day).days for name, day in read(site, stack).items()}
    return {name: age for name, age in ages.items() if age > days}
