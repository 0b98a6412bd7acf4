"""Everything the page tells, gathered at one moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx

from app.status import chart, exit_proxy, health
from app.status.chart import Chart
from app.status.exit_proxy import Counters
from app.status.health import UNKNOWN, Health, State
from app.status.panels import PANELS, Panel
from app.status.plan import Plan
from app.status.prometheus import Alert, Prometheus, Unreachable

HOUR = 3600
STEP = 30


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    at: float
    health: Mapping[str, Health] = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()
    charts: tuple[tuple[Panel, Chart | None], ...] = ()
    unmeasured: str = ""
    """Why there are no measurements; empty where there are."""
    counters: Counters | None = None
    uncounted: str = ""
    """Why there are no counters of the exit proxy."""

    def of(self, part: str) -> Health:
        return self.health.get(part, UNKNOWN)

    def verdict(self, plan: Plan) -> tuple[str, str]:
        """How the appliance is: a state (``up``, ``warn``, ``down``, ``unknown``) and one sentence."""
        if self.unmeasured:
            return "unknown", "Nothing is known: Prometheus does not answer."
        down = [part.name for part in plan.parts if self.of(part.name).state is State.DOWN]
        silent = [part.name for part in plan.parts if self.of(part.name).state is State.UNKNOWN]
        if down:
            return "down", f"{_listed(down)} {'does' if len(down) == 1 else 'do'} not answer."
        if self.alerts:
            return "warn", f"Every part answers, {len(self.alerts)} alert{'s' * (len(self.alerts) > 1)} firing."
        if silent:
            return "unknown", f"{_listed(silent)} {'is' if len(silent) == 1 else 'are'} not measured."
        return "up", "Everything works."


def _listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and 2 more``; with a capital."""
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} more"]
    text = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return text[0].upper() + text[1:]


async def take(http: httpx.AsyncClient, prometheus: Prometheus, exit_url: str) -> Snapshot:
    """Ask Prometheus and the exit proxy, all at once. Never fails: what does not answer is said in the snapshot."""
    now = time.time()
    measured, (counters, uncounted) = await asyncio.gather(_measure(prometheus, now), _count(http, exit_url))
    return replace(measured, counters=counters, uncounted=uncounted)


async def _measure(prometheus: Prometheus, now: float) -> Snapshot:
    try:
        parts, alerts, charts = await asyncio.gather(
            health.of_parts(prometheus, now),
            prometheus.firing(),
            asyncio.gather(*(_chart(prometheus, panel, now) for panel in PANELS)),
        )
    except Unreachable as error:
        return Snapshot(at=now, unmeasured=str(error))
    return Snapshot(at=now, health=parts, alerts=tuple(alerts), charts=tuple(charts))


async def _count(http: httpx.AsyncClient, url: str) -> tuple[Counters | None, str]:
    try:
        return await exit_proxy.read(http, url), ""
    except exit_proxy.Unreadable as error:
        return None, str(error)


async def _chart(prometheus: Prometheus, panel: Panel, now: float) -> tuple[Panel, Chart | None]:
    # On whole steps, so that points stay where they are while the window moves.
    end = now - now % STEP
    series = await prometheus.over(panel.query, end - HOUR, end, STEP)
    if not series:
        return panel, None
    drawn = chart.draw(series[0].points, start=end - HOUR, end=end, step=STEP, unit=panel.unit, full=panel.full)
    return panel, drawn
