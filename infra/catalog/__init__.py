"""The parts of the appliance, one module each. This folder is the list of parts."""

from __future__ import annotations

from infra.catalog import (
    acme,
    alertmanager,
    auth,
    backup,
    blackbox_exporter,
    exit_proxy,
    gateway,
    grafana,
    minio,
    node_exporter,
    postgres,
    postgres_exporter,
    prometheus,
    redis,
    redis_exporter,
    s3,
    status,
)
from infra.catalog.model import Service

SERVICES: tuple[Service, ...] = (
    postgres.SERVICE,
    redis.SERVICE,
    minio.SERVICE,
    s3.SERVICE,
    backup.SERVICE,
    exit_proxy.SERVICE,
    prometheus.SERVICE,
    alertmanager.SERVICE,
    node_exporter.SERVICE,
    postgres_exporter.SERVICE,
    redis_exporter.SERVICE,
    blackbox_exporter.SERVICE,
    grafana.SERVICE,
    status.SERVICE,
    auth.SERVICE,
    gateway.SERVICE,
    acme.SERVICE,
)
