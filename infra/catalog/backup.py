"""Recovery points of everything that holds truth, made on a schedule and when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from infra.catalog import asgi, probes
from infra.catalog.model import File, Limits, Scrape, Service, Share, Volume, Zone
from infra.target import Copy

GIVEN = "backup-copy-"
"""What the secrets of copies are named after: keys of S3, which the service gives to the owner."""

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


def secret(copy: str) -> str:
    """The name of the secret that a copy at an S3 endpoint needs."""
    return GIVEN + copy


def keeper(copies: Mapping[str, Copy]) -> Service:
    """The part, as the places need it that get the archive too."""
    if not copies:
        return SERVICE
    files = [File(path="/run/secrets/copy", template="backup/copy.j2")]
    if any(copy.s3 for copy in copies.values()):
        files.append(File(path="/run/secrets/aws", template="backup/aws.j2"))
    if any(copy.s3 and copy.s3.roots for copy in copies.values()):
        files.append(File(path="/etc/maia/roots.pem", template="backup/roots.pem.j2"))
    if any(copy.ssh for copy in copies.values()):
        files.append(File(path="/etc/maia/ssh_config", template="backup/ssh_config.j2"))
        files.append(File(path="/etc/maia/known_hosts", template="backup/known_hosts.j2"))
        files.append(File(path="/run/secrets/ssh", template="backup/ssh.j2"))
    return replace(
        SERVICE,
        files=(*SERVICE.files, *files),
        secrets=(*SERVICE.secrets, *(secret(name) for name, copy in copies.items() if copy.s3)),
        # One more restic works beside the others.
        limits=replace(SERVICE.limits, memory=512),
        after=(*SERVICE.after, "exit"),
    )
