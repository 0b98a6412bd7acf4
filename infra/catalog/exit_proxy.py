"""The exit proxy: the one logged way out, closed until a person opens it."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Service, Zone

SERVICE = Service(
    name="exit",
    title="Exit proxy: the only way out, by allow-list",
    image="squid",
    version_of="squid",
    zones=(Zone.EXIT,),
    ports=(3128,),
    files=(File(path="/etc/maia/squid.conf", template="exit/squid.conf.j2"),),
    scratch=("/tmp", "/run/squid", "/var/spool/squid"),
    # Healthy is to answer and to refuse: a proxy that lets this through is broken.
    health=probes.http(3128, "http://refused.invalid/", status=403),
    limits=Limits(memory=160, cpus=1),
)
