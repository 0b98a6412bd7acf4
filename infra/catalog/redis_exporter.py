"""Metrics of Redis."""

from __future__ import annotations

from infra.catalog import probes
from infra.catalog.model import File, Limits, Needs, Redis, Scrape, Service, Zone

SERVICE = Service(
    name="redis-exporter",
    title="Metrics of Redis",
    image="redis-exporter",
    version_of="prometheus-redis-exporter",
    zones=(Zone.DATA, Zone.OPS),
    ports=(9121,),
    command=(
        "prometheus-redis-exporter",
        "--web.listen-address=:9121",
        "--redis.addr=redis://redis:6379",
        "--redis.user=redis-exporter",
        "--redis.password-file=/run/secrets/redis.json",
    ),
    files=(File(path="/run/secrets/redis.json", template="redis-exporter/redis.json.j2"),),
    needs=Needs(
        redis=Redis(
            keys=(),
            commands=(
                "-@all",
                *("+ping", "+info", "+config|get", "+client|setname", "+slowlog|get", "+slowlog|len"),
                *("+latency|latest", "+latency|histogram", "+dbsize"),
            ),
        )
    ),
    scrape=(Scrape(port=9121),),
    health=probes.http(9121, "/metrics", contains="redis_up 1"),
    limits=Limits(memory=64, cpus=0.5),
)
