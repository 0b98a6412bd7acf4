"""How each part is, from what Prometheus saw of it in the last day."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from app.status.prometheus import Prometheus, Series

DAY = 86400
CELL = 1800
"""Seconds that one cell of the day's strip stands for."""
CELLS = DAY // CELL

SEEN = '(up{job!="probe"} or probe_success)'
"""1 where a part answered, 0 where not; the job ``probe`` itself says only whether the prober answered."""


class State(StrEnum):
    UP = "up"
    SHAKY = "shaky"
    """Down for a while; only of a half hour."""
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Health:
    state: State
    since: float | None = None
    """When it came into this state; None where that is longer ago than a day, or unknown."""
    share: float | None = None
    """Of the last day's measurements, those that were good."""
    strip: tuple[State, ...] = (State.UNKNOWN,) * CELLS
    """The last day in half hours, oldest first."""


UNKNOWN = Health(state=State.UNKNOWN)


async def of_parts(prometheus: Prometheus, now: float) -> dict[str, Health]:
    """The health of every part that Prometheus measures, by name."""
    # Cells end on whole half hours, so that a strip moves on by cells and not with every look at it.
    end = now - now % CELL + CELL
    state, share, seen, down, up, strip = await asyncio.gather(
        prometheus.now(f"min by (part) {SEEN}", now),
        prometheus.now(_each(f"avg_over_time(%s[{DAY}s])", "avg"), now),
        prometheus.now(f"min by (part) (min_over_time(timestamp({SEEN})[1d:1m]))", now),
        prometheus.now(f"max by (part) (max_over_time(timestamp({SEEN} == 0)[1d:1m]))", now),
        prometheus.now(f"max by (part) (max_over_time(timestamp({SEEN} == 1)[1d:1m]))", now),
        prometheus.over(_each(f"avg_over_time(%s[{CELL}s])", "avg"), end - DAY + CELL, end, CELL),
    )
    shares, first, last_down, last_up = (_by_part(series) for series in (share, seen, down, up))
    strips = {series.labels["part"]: dict(series.points) for series in strip}
    found = {}
    for part, value in _by_part(state).items():
        changed = (last_down if value else last_up).get(part, first.get(part))
        found[part] = Health(
            state=State.UP if value else State.DOWN,
            since=changed if changed and changed > now - DAY + 120 else None,
            share=shares.get(part),
            strip=tuple(_cell(strips.get(part, {}).get(end - CELL * back)) for back in reversed(range(CELLS))),
        )
    return found


def _each(over: str, combine: str) -> str:
    """``over`` of both kinds of measurement, combined by part."""
    metrics = ('up{job!="probe"}', "probe_success")
    return f"{combine} by (part) ({' or '.join(over % metric for metric in metrics)})"


def _by_part(series: list[Series]) -> dict[str, float]:
    return {one.labels["part"]: one.last for one in series if "part" in one.labels}


def _cell(value: float | None) -> State:
    if value is None:
        return State.UNKNOWN
    return {1.0: State.UP, 0.0: State.DOWN}.get(value, State.SHAKY)
