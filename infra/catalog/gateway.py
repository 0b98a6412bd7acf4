"""The gateway: the only part with a published port."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import Deviation, File, Limits, Probe, Service, Zone

SERVICE = Service(
    name="gateway",
    title="Gateway: TLS, routes, the only open port",
    image="nginx",
    version_of="nginx",
    zones=(Zone.EDGE, Zone.APPS, Zone.OPS),
    ports=(8080, 8443),
    command=("sh", "/etc/maia/start.sh"),
    files=(
        File(path="/etc/maia/nginx.conf", template="gateway/nginx.conf.j2"),
        File(path="/etc/maia/start.sh", template="gateway/start.sh.j2"),
        File(path="/etc/maia/firewall.nft", template="gateway/firewall.nft.j2"),
        File(path="/run/secrets/operators", template="gateway/operators.j2"),
    ),
    secrets=("operator",),
    certificate=("gateway",),
    reload="SIGHUP",
    scratch=("/tmp", "/run/nginx"),
    probe=Probe(module="https", target="https://{ops}:8443/healthz"),
    health=probes.http(8081, "/healthz", contains="ok"),
    limits=Limits(memory=128, cpus=2),
    root=True,
    capabilities=("NET_ADMIN", "SETGID", "SETPCAP", "SETUID"),
    deviations=(
        Deviation(
            field="user",
            value="starts as root",
            reason="it closes its own way out with a packet filter in its own network namespace, then drops to its"
            " user with no capability left; without the filter it does not start",
        ),
        Deviation(
            field="capabilities",
            value="NET_ADMIN, SETGID, SETPCAP, SETUID",
            reason="for that first step; the serving processes hold none",
        ),
    ),
)
