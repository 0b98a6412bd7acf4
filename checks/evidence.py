"""What a run of the checks leaves behind: rows for people, a report and JUnit for auditors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from checks import baselines
from checks.baselines import Baseline
from infra import atomic
from infra.errors import MaiaError
from infra.plan import Plan

HERE = Path(__file__).parent
OUTCOMES = ("passed", "failed", "skipped", "waived")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One check and what came of it."""

    check: str
    """``subject[part-rule]``."""
    host: str
    part: str
    """Empty where the check concerns no single part."""
    controls: tuple[str, ...]
    observed: Any
    expected: Any
    outcome: str
    """One of ``OUTCOMES``."""
    reason: str
    """Why it failed, was skipped or waived."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """A failing check that a person accepts until a day."""

    check: str
    """A check or ``subject.rule``; ``*`` stands for anything."""
    reason: str
    expires: date
    owner: str = ""
    """Who accepts it."""

    def covers(self, check: str, key: str, today: date) -> bool:
        # Brackets are part of a check's name here, not a set of characters.
        pattern = self.check.replace("[", "[[]")
        return self.expires >= today and (fnmatchcase(check, pattern) or fnmatchcase(key, pattern))


def waivers(*files: Path) -> list[Waiver]:
    """The waivers of all ``files`` that exist.

    Raises:
        MaiaError: one lacks its reason or expiry, by file.
    """
    found = []
    for file in files:
        for number, entry in enumerate((yaml.safe_load(file.read_text()) or []) if file.exists() else [], 1):
            try:
                check, reason, expires = entry["check"], entry["reason"], entry["expires"]
                known = {"check", "reason", "expires", "owner"}
                if not known.issuperset(entry) or not (check and reason and type(expires) is date):
                    raise ValueError
            except (KeyError, TypeError, ValueError):
                raise MaiaError(
                    f"waiver {number} needs check, reason and expires (a date), may say its owner, and nothing else",
                    where=str(file),
                    mend="correct it",
                ) from None
            found.append(Waiver(check=check, reason=reason, expires=expires, owner=str(entry.get("owner", ""))))
    return found


def report(
    plan: Plan,
    host: str,
    engine: str,
    rows: list[Row],
    began: datetime,
    accepted: Sequence[Waiver] = (),
    servers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The evidence as plain data.

    Args:
        accepted: what is waived.
        servers: by name, which Debian each of them says it is.
    """
    releases = {f"cis-debian-{each['version']}" for each in (servers or {}).values()}
    asked = [each for each in baselines.baselines() if "debian" not in each.name or each.name in releases]
    return {
        "stack": plan.stack,
        "host": host,
        "began": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": plan.hash,
        "docker": engine,
        "images": {container.part: container.image_id for container in plan.containers},
        "waivers": [dataclasses.asdict(waiver) for waiver in accepted],
        "absent": [dataclasses.asdict(absent) for absent in plan.absent],
        "deviations": [
            {"part": container.part, **dataclasses.asdict(deviation)}
            for container in plan.containers
            for deviation in container.deviations
        ],
        "counts": counts(rows),
        "hosts": dict(servers or {}),
        "baselines": standing(asked, rows, began.date()),
        "checks": [dataclasses.asdict(row) for row in rows],
    }


def standing(asked: Sequence[Baseline], rows: list[Row], today: date) -> list[dict[str, Any]]:
    """Where each control of the baselines stands."""
    outcomes: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for control in row.controls:
            outcomes.setdefault(control, {}).setdefault(row.outcome, []).append(row.check)
    found = []
    for baseline in asked:
        controls = [
            {
                "id": control.id,
                "title": control.title,
                "level": control.level,
                "state": baselines.state(control, outcomes.get(control.id, ()), today),
                "words": control.manual or control.planned or (control.waiver.reason if control.waiver else ""),
                "waiver": dataclasses.asdict(control.waiver) if control.waiver else None,
                "checks": outcomes.get(control.id, {}),
                "skipped": sorted({r.reason for r in rows if r.outcome == "skipped" and control.id in r.controls}),
            }
            for control in baseline.controls
        ]
        found.append(
            {"name": baseline.name, "title": baseline.title, "version": baseline.version, "source": baseline.source,
             "controls": controls}
        )  # fmt: skip
    return found


def counts(rows: list[Row]) -> dict[str, int]:
    return {outcome: sum(row.outcome == outcome for row in rows) for outcome in OUTCOMES}


def write(path: Path, text: str) -> None:
    """Put ``text`` at ``path``, at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(path, text)


def write_report(folder: Path, document: dict[str, Any]) -> None:
    write(folder / "report.json", json.dumps(document, indent=2, default=plain) + "\n")


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value, key=str) if not isinstance(value, tuple) else list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
