"""What others ask for, as data: each control, and what shows that it is met. ``baselines/*.yaml`` holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

FOLDER = Path(__file__).parent / "baselines"
State = Literal[
    "not met", "waiver expired", "planned", "partly shown", "met", "waived", "manual",
    "not provable here", "not looked at",
]  # fmt: skip
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, kw_only=True)
class Excuse:
    """Why a control is not met and may stay so until a day."""

    reason: str
    owner: str
    expires: date


@dataclass(frozen=True, kw_only=True)
class Control:
    id: str
    title: str
    level: int | None
    checks: tuple[str, ...]
    """``subject.rule`` of each check that speaks to it; each gives evidence for a part of it."""
    manual: str
    """What a person is to look at, where no check can."""
    planned: str
    """What is still to come, and until when it is not met."""
    waiver: Excuse | None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    name: str
    title: str
    version: str
    source: str
    """What its numbers were compared with."""
    controls: tuple[Control, ...]


@cache
def baselines() -> tuple[Baseline, ...]:
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.yaml")))


def _read(path: Path) -> Baseline:
    document = yaml.load(path.read_text(), yaml.CSafeLoader)
    return Baseline(
        name=path.stem,
        title=document["title"],
        version=document["version"],
        source=document["source"],
        controls=tuple(_control(document["prefix"] + key, each) for key, each in document["controls"].items()),
    )


def _control(id_: str, each: Mapping[str, Any]) -> Control:
    return Control(
        id=id_,
        title=each["title"],
        level=each.get("level"),
        checks=tuple(each.get("checks", ())),
        manual=each.get("manual", ""),
        planned=each.get("planned", ""),
        waiver=Excuse(**each["waiver"]) if "waiver" in each else None,
    )


@cache
def controls() -> Mapping[str, Control]:
    """All of them, by id."""
    return {control.id: control for baseline in baselines() for control in baseline.controls}


@cache
def by_check() -> Mapping[str, tuple[str, ...]]:
    """Control ids by ``subject.rule``."""
    found: dict[str, list[str]] = {}
    for control in controls().values():
        for check in control.checks:
            found.setdefault(check, []).append(control.id)
    return {check: tuple(ids) for check, ids in found.items()}


def state(control: Control, outcomes: Iterable[str], today: date) -> State:
    """Where a control stands, by the outcomes of its checks."""
    found = set(outcomes)
    if control.waiver:
        return "waived" if control.waiver.expires >= today else "waiver expired"
    if "failed" in found:
        return "not met"
    if control.planned:
        return "planned"
    if control.manual:
        return "manual"
    if "waived" in found:
        return "waived"
    if "skipped" in found:
        return "partly shown" if "passed" in found else "not provable here"
    return "met" if found else "not looked at"
