"""Every query that a dashboard or the status page asks, asked of the running Prometheus."""

from __future__ import annotations

import time

import httpx

from app.status.panels import PANELS
from infra import dashboards

PATIENCE = 120
"""Seconds until there must be data: a rate needs two scrapes."""
SCANNED = "minio_cluster_usage_"
"""What MinIO tells only once its scanner went through buckets with objects, which takes as long as it takes."""


def empty(operator: httpx.Client, queries: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The queries that give nothing."""
    found = []
    for query in queries:
        answer = operator.get("/ops/prometheus/api/v1/query", params={"query": query[2]})
        # The gateway limits how fast one login may ask.
        if answer.status_code == 429:
            found.append(query)
            continue
        assert answer.status_code == 200, (query, answer.text)
        if not answer.json()["data"]["result"]:
            found.append(query)
    return found


def test_every_query_of_every_dashboard_and_of_the_status_page_gives_data(operator: httpx.Client) -> None:
    waiting = [*dashboards.queries(), *(("status", panel.title, panel.query) for panel in PANELS)]
    assert len(waiting) > 40
    limit = time.monotonic() + PATIENCE
    while overdue := [query for query in empty(operator, waiting) if SCANNED not in query[2]]:
        assert time.monotonic() < limit, overdue
        waiting = overdue
        time.sleep(5)
