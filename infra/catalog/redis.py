"""Redis: sessions, queues and messages; one ACL user per part, the default user off."""

from __future__ import annotations

from infra.catalog.model import File, Health, Limits, Service, Volume, Zone

SERVICE = Service(
    name="redis",
    title="Sessions, queues and messages: Redis",
    image="redis",
    version_of="redis-server",
    zones=(Zone.DATA,),
    ports=(6379,),
    command=("sh", "/etc/maia/start.sh"),
    files=(
        File(path="/etc/maia/redis.conf", template="redis/redis.conf.j2"),
        File(path="/etc/maia/start.sh", template="redis/start.sh.j2"),
        File(path="/run/secrets/fixed.acl", template="redis/fixed.acl.j2"),
        File(path="/run/secrets/health", template="redis/health.j2"),
    ),
    secrets=("redis-admin", "redis-backup", "redis-health"),
    volumes=(Volume(name="data", path="/data"),),
    socket="/run/redis",
    health=Health(
        command=(
            "sh",
            "-c",
            # Told on standard input, by a command of the shell's own: neither environment nor arguments show it.
            "printf 'AUTH health %s\\nPING\\n' \"$(cat /run/secrets/health)\""
            " | redis-cli -s /run/redis/redis.sock | grep -qx PONG",
        ),
    ),
    limits=Limits(memory=256, share=0.05, most=8192, cpus=2),
    backup=True,
    stop_seconds=30,
)
