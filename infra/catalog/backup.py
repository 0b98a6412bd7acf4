"""Recovery points of everything that holds truth, made on a schedule and when asked for."""

from __future__ import annotations

from infra.catalog import asgi, probes
from infra.catalog.model import File, Limits, Scrape, Service, Share, Volume, Zone

SERVICE = Service(
    name="backup",
    title="Recovery points: pgBackRest and restic",
    image="backup",
    version_of="maia",
    zones=(Zone.DATA, Zone.OPS),
    ports=(8000,),
    command=asgi.serve("app.backup.main:app", 8000),
    files=(
        File(path="/etc/maia/backup.json", template="backup/backup.json.j2"),
        File(path="/etc/maia/plan.json", template="status/plan.json.j2", live=True),
        File(path="/run/secrets/pgbackrest.conf", template="backup/pgbackrest.conf.j2"),
        File(path="/run/secrets/redis", template="backup/redis.j2"),
        File(path="/run/secrets/restic", template="backup/restic.j2"),
        File(path="/run/secrets/secrets.json", template="backup/secrets.json.j2", live=True),
    ),
    secrets=("evidence", "recovery", "redis-backup"),
    custodian=True,
    volumes=(Volume(name="data", path="/data"),),
    shares=(
        Share(part="postgres", path="/run/postgresql"),
        Share(part="postgres", path="/var/lib/postgresql", volume="data"),
        Share(part="postgres", path="/var/spool/pgbackrest", volume="wal", writable=True),
        Share(part="minio", path="/objects", volume="data"),
    ),
    groups=("minio",),
    archive="/archive",
    scrape=(Scrape(port=8000),),
    health=probes.http(8000, "/health", contains='"wal": "ok"'),
    limits=Limits(memory=256, share=0.05, most=2048, cpus=2, pids=256),
    after=("postgres",),
)
