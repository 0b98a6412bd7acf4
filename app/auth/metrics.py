"""What the auth service tells Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

REQUESTS = Histogram(
    "maia_auth_request_seconds",
    "How long requests took, by endpoint and class of status.",
    ["endpoint", "status"],
    registry=REGISTRY,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SIGN_INS = Counter("maia_auth_sign_ins", "Sign-ins, by method and outcome.", ["method", "outcome"], registry=REGISTRY)
REFRESHES = Counter("maia_auth_refreshes", "Exchanges of refresh tokens, by outcome.", ["outcome"], registry=REGISTRY)
LIMITED = Counter("maia_auth_limited", "Requests that came too often, by limit.", ["limit"], registry=REGISTRY)
HASHING = Gauge(
    "maia_auth_hashing", "Passwords being hashed or waiting for it.", registry=REGISTRY, multiprocess_mode="livesum"
)
MAILS = Counter("maia_auth_mails", "Mails, by what became of them.", ["outcome"], registry=REGISTRY)


def latest() -> bytes:
    """All processes' metrics where ``PROMETHEUS_MULTIPROC_DIR`` names the folder that they share, else this one's."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
