"""Metrics of Postgres."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import Database, File, Limits, Needs, Scrape, Service, Zone

SERVICE = Service(
    name="postgres-exporter",
    title="Metrics of the database",
    image="postgres-exporter",
    version_of="prometheus-postgres-exporter",
    zones=(Zone.DATA, Zone.OPS),
    ports=(9187,),
    command=("prometheus-postgres-exporter", "--web.listen-address=:9187", "--no-collector.wal"),
    env={
        "DATA_SOURCE_URI_FILE": "/run/secrets/uri",
        "DATA_SOURCE_USER_FILE": "/run/secrets/user",
        "DATA_SOURCE_PASS_FILE": "/run/secrets/password",
    },
    files=(
        File(path="/run/secrets/uri", template="postgres-exporter/uri.j2"),
        File(path="/run/secrets/user", template="postgres-exporter/user.j2"),
        File(path="/run/secrets/password", template="postgres-exporter/password.j2"),
    ),
    needs=Needs(database=Database(name="postgres", member_of=("pg_monitor",))),
    scrape=(Scrape(port=9187),),
    health=probes.http(9187, "/metrics", contains="pg_up 1"),
    limits=Limits(memory=64, cpus=0.5),
)
