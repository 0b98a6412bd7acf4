"""MinIO: objects. Reached by nobody but the S3 route beside it (see ``s3``)."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Probe, Service, Volume, Zone

SERVICE = Service(
    name="minio",
    title="Objects: MinIO",
    image="minio",
    version_of="minio",
    zones=(Zone.STORE,),
    ports=(9000,),
    command=("minio", "server", "/data", "--address", ":9000", "--quiet"),
    env={
        "MINIO_BROWSER": "off",
        "MINIO_CONFIG_ENV_FILE": "/run/secrets/minio.env",
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",
        "MINIO_UPDATE": "off",
    },
    files=(File(path="/run/secrets/minio.env", template="minio/minio.env.j2"),),
    secrets=("minio-root",),
    volumes=(Volume(name="data", path="/data"),),
    # Through the route in front of it: no prober can reach it itself.
    probe=Probe(module="http_2xx", target="http://s3:9000/minio/health/cluster"),
    health=probes.http(9000, "/minio/health/cluster"),
    limits=Limits(memory=512, share=0.05, most=8192, cpus=4, pids=512),
    backup=True,
)
