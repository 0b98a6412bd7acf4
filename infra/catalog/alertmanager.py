"""Alertmanager: alerts, grouped and held where the operator looks."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Route, Scrape, Service, Volume, Zone

SERVICE = Service(
    name="alertmanager",
    title="Alerts: Alertmanager",
    image="alertmanager",
    version_of="prometheus-alertmanager",
    zones=(Zone.OPS,),
    ports=(9093,),
    command=(
        "prometheus-alertmanager",
        "--config.file=/etc/maia/alertmanager.yml",
        "--storage.path=/data",
        "--web.listen-address=:9093",
        "--cluster.listen-address=",
    ),
    files=(File(path="/etc/maia/alertmanager.yml", template="alertmanager/alertmanager.yml.j2"),),
    volumes=(Volume(name="data", path="/data"),),
    routes=(Route(path="/ops/alertmanager/", port=9093, operator=True, strip=True),),
    scrape=(Scrape(port=9093),),
    health=probes.http(9093, "/-/ready"),
    limits=Limits(memory=128, cpus=1),
)
