"""Prometheus: what the appliance measures of itself."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Route, Scrape, Service, Volume, Zone

SERVICE = Service(
    name="prometheus",
    title="Metrics and alert rules: Prometheus",
    image="prometheus",
    version_of="prometheus",
    zones=(Zone.OPS,),
    ports=(9090,),
    command=(
        "prometheus",
        "--config.file=/etc/maia/prometheus.yml",
        "--storage.tsdb.path=/data",
        "--storage.tsdb.retention.time=30d",
        "--storage.tsdb.retention.size=8GB",
        "--web.listen-address=:9090",
    ),
    files=(
        File(path="/etc/maia/prometheus.yml", template="prometheus/prometheus.yml.j2"),
        File(path="/etc/maia/alerts.yml", template="prometheus/alerts.yml.j2"),
    ),
    volumes=(Volume(name="data", path="/data"),),
    routes=(Route(path="/ops/prometheus/", port=9090, operator=True, strip=True),),
    scrape=(Scrape(port=9090),),
    health=probes.http(9090, "/-/ready"),
    limits=Limits(memory=512, cpus=2),
    stop_seconds=30,
)
