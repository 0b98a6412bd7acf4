"""The appliance's own measurements, asked through the gateway as its operator. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter

from infra import served
from infra.plan import Plan
from infra.site import Site

OPERATOR = "operator"
GATEWAY = "gateway"
"""The name under which the gateway always shows the internal CA's certificate."""


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
