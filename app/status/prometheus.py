"""Reading from Prometheus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx


class Unreachable(Exception):
    """Prometheus did not answer, or not as Prometheus does."""


@dataclass(frozen=True)
class Series:
    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]
    """Seconds since the epoch and value, oldest first; never NaN."""

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True)
class Alert:
    name: str
    part: str
    severity: str
    summary: str
    description: str
    since: float


class Prometheus:
    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def _get(self, path: str, **parameters: Any) -> Any:
        try:
            answer = (await self._http.get(f"{self._url}/api/v1/{path}", params=parameters)).json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(f"{type(error).__name__} {error}".strip()) from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise Unreachable(answer.get("error", "") if isinstance(answer, dict) else "no answer of Prometheus")
        return answer["data"]

    async def ready(self) -> None:
        """Return if Prometheus answers queries.

        Raises:
            Unreachable: it does not.
        """
        await self._get("query", query="1")

    async def now(self, query: str, at: float) -> list[Series]:
        """The series of ``query`` at one time, with one point each."""
        data = await self._get("query", query=query, time=at)
        return _series((item["metric"], [item["value"]]) for item in data["result"])

    async def over(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """The series of ``query`` between two times, a point every ``step`` seconds."""
        data = await self._get("query_range", query=query, start=start, end=end, step=step)
        return _series((item["metric"], item["values"]) for item in data["result"])

    async def firing(self) -> list[Alert]:
        """Alerts that fire, critical ones first, the longest first."""
        data = await self._get("alerts")
        alerts = [
            Alert(
                name=item["labels"]["alertname"],
                part=item["labels"].get("client") or item["labels"].get("part", ""),
                severity=item["labels"].get("severity", "warning"),
                summary=item["annotations"].get("summary", ""),
                description=item["annotations"].get("description", ""),
                since=datetime.fromisoformat(item["activeAt"]).timestamp(),
            )
            for item in data["alerts"]
            if item["state"] == "firing"
        ]
        return sorted(alerts, key=lambda alert: (alert.severity != "critical", alert.since))


def _series(items: Any) -> list[Series]:
    found = []
    for labels, values in items:
        points = tuple((float(at), float(value)) for at, value in values if math.isfinite(float(value)))
        if points:
            found.append(Series(labels=labels, points=points))
    return found
