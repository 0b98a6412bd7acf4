"""Grafana, from its official image by digest where one is to be had."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Route, Scrape, Service, Volume, Zone

SERVICE = Service(
    name="grafana",
    title="Dashboards: Grafana",
    image="grafana",
    archive_only=True,
    user="472:472",
    zones=(Zone.APPS, Zone.OPS),
    ports=(3000,),
    env={
        "GF_PATHS_CONFIG": "/run/secrets/grafana.ini",
        "GF_PATHS_PROVISIONING": "/etc/maia/provisioning",
    },
    files=(
        File(path="/run/secrets/grafana.ini", template="grafana/grafana.ini.j2"),
        File(path="/etc/maia/provisioning/datasources/prometheus.yml", template="grafana/datasources.yml.j2"),
        File(path="/etc/maia/provisioning/dashboards/maia.yml", template="grafana/dashboards.yml.j2"),
        *(
            File(path=f"/etc/maia/dashboards/{name}.json", template=f"grafana/{name}.json.j2")
            for name in ("appliance", "postgres", "redis", "objects")
        ),
    ),
    secrets=("grafana-admin", "grafana-key"),
    volumes=(Volume(name="data", path="/var/lib/grafana"),),
    routes=(Route(path="/grafana/", port=3000),),
    scrape=(Scrape(port=3000, path="/grafana/metrics"),),
    health=probes.http(3000, "/grafana/api/health", contains='"database"'),
    limits=Limits(memory=512, cpus=1),
    after=("prometheus",),
)
