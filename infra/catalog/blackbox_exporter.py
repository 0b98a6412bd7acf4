"""Probes of the parts from where their users stand."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Scrape, Service, Zone

SERVICE = Service(
    name="blackbox-exporter",
    title="Probes of what users meet",
    image="blackbox-exporter",
    version_of="prometheus-blackbox-exporter",
    zones=(Zone.OPS, Zone.APPS, Zone.DATA, Zone.EXIT),
    ports=(9115,),
    command=(
        "prometheus-blackbox-exporter",
        "--config.file=/etc/maia/blackbox.yml",
        "--web.listen-address=:9115",
    ),
    files=(File(path="/etc/maia/blackbox.yml", template="blackbox-exporter/blackbox.yml.j2"),),
    scrape=(Scrape(port=9115),),
    health=probes.http(9115, "/-/healthy"),
    limits=Limits(memory=64, cpus=0.5),
)
