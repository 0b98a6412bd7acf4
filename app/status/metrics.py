"""What the status page tells Prometheus: the exit proxy's counters, and its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.status.exit_proxy import Client, Counters

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

PAGES = Counter("maia_status_pages", "Pages served, by verdict.", ["verdict"], registry=REGISTRY)


class Exit(Collector):
    """The exit proxy's counters as they were last read, by part."""

    def __init__(self) -> None:
        self._counters: Counters | None = None
        self._clients: Mapping[str, Client] = {}

    def tell(self, counters: Counters | None, clients: Mapping[str, Client]) -> None:
        self._counters, self._clients = counters, clients

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "maia_exit_up", "Whether the exit proxy told its counters.", value=float(self._counters is not None)
        )
        if self._counters is None:
            return
        requests = CounterMetricFamily("maia_exit_requests", "Requests to the exit proxy.", labels=["client"])
        denied = CounterMetricFamily("maia_exit_denied", "Requests that it refused.", labels=["client"])
        for name, client in sorted(self._clients.items()):
            requests.add_metric([name], client.requests)
            denied.add_metric([name], client.denied)
        traffic = CounterMetricFamily("maia_exit_bytes", "Bytes to and from places outside.", labels=["direction"])
        traffic.add_metric(["sent"], self._counters.sent)
        traffic.add_metric(["received"], self._counters.received)
        yield from (requests, denied, traffic)


EXIT = Exit()
REGISTRY.register(EXIT)
