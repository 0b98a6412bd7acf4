"""The machine's processors, memory, load and disks.

It needs no mount of the host: /proc shows them in every container, and the file systems of its own mounts are
those of the site folder and of Docker's storage.
"""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import Limits, Scrape, Service, Zone

SERVICE = Service(
    name="node-exporter",
    title="Metrics of the machine",
    image="node-exporter",
    version_of="prometheus-node-exporter",
    zones=(Zone.OPS,),
    ports=(9100,),
    command=(
        "prometheus-node-exporter",
        "--web.listen-address=:9100",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in ("cpu", "diskstats", "filefd", "filesystem", "loadavg", "meminfo", "stat")),
        *(f"--collector.{name}" for name in ("time", "uname", "vmstat", "pressure")),
    ),
    scrape=(Scrape(port=9100),),
    health=probes.http(9100, "/metrics", contains="node_memory_MemTotal_bytes"),
    limits=Limits(memory=64, cpus=0.5),
)
