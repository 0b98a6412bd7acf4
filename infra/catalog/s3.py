"""The S3 route: the only way to MinIO.

It strips what MinIO's unfixed hole needs (``X-Minio-Replication-*``, GHSA-3rh2-v3gr-35p9) and hides the
admin API, which answers on a unix socket that only the machine's root can open.
"""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Scrape, Service, Zone

SERVICE = Service(
    name="s3",
    title="S3 route: the only way to the objects",
    image="nginx",
    version_of="nginx",
    zones=(Zone.STORE, Zone.DATA, Zone.OPS),
    ports=(9000, 9001),
    # The socket outlives a server that was killed, and nginx does not start where it finds one.
    command=(
        "sh",
        "-c",
        "rm -f /run/s3/admin.sock; exec nginx -e stderr -c /etc/maia/nginx.conf",
    ),
    files=(File(path="/etc/maia/nginx.conf", template="s3/nginx.conf.j2"),),
    socket="/run/s3",
    scratch=("/tmp", "/run/nginx"),
    scrape=(Scrape(port=9001, path="/minio/v2/metrics/cluster"),),
    health=probes.http(9000, "/minio/health/cluster"),
    limits=Limits(memory=128, cpus=2),
    after=("minio",),
)
