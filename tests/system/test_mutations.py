"""Each check can fail: a change made behind the appliance's back turns red just the checks that are about it.

What cannot be changed on a running stack without harm to the machine or to data is changed in the facts instead, in
``tests/unit/test_checks.py``: ``privileged`` itself, the networks' own settings, Docker's socket, data checksums.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest

import checks
from checks.store import Store
from infra.cli import common
from infra.components import certificate
from infra.stack import Stack
from tests.system.mutations import (
    Change,
    World,
    cache,
    config,
    edited,
    host,
    mode,
    recreated,
    replacing,
    sql,
    system,
    undoing,
    until,
    updated,
)

NODE = "node-exporter"
"""A part that nobody needs and that keeps nothing."""
NGINX = "config/nginx.conf"


MEASURED = ("scrapes", "alerts", "latency")
"""Subjects that look back at the minutes before, with the mutations in them: run where a mutation is about them."""


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    return World(stack, common.engine(stack, lambda _line: None).secrets())


def red(world: World, measured: bool) -> set[str]:
    keyword = None if measured else " and ".join(f"not {subject}" for subject in MEASURED)
    result = checks.run(world.stack, say=lambda _line: None, secrets=world.secrets, keyword=keyword)
    return {row.check for row in result.failed}


def environment(world: World, body: dict[str, Any]) -> None:
    body["Env"].append(f"PASSWORD={world.secrets['operator']}")


@contextmanager
def another_image(world: World) -> Iterator[None]:
    image = world.container(NODE).commit(repository="maia-check-mutation")
    try:
        with config(NODE, Image=image.id)(world):
            yield
    finally:
        world.docker.images.remove(str(image.id), force=True)


@contextmanager
def way_out(world: World) -> Iterator[None]:
    """The planted connection: a bridge with a way out, joined by a part that has none."""
    network = world.docker.networks.create("maia-check-mutation", driver="bridge")
    try:
        network.connect(world.container("redis"))
        yield
    finally:
        network.disconnect(world.container("redis"), force=True)
        network.remove()


@contextmanager
def outside_names(world: World) -> Iterator[None]:
    """A part whose resolver asks a server on this machine, over a bridge that has an address here."""
    network = world.docker.networks.create("maia-check-mutation", driver="bridge")
    network.reload()
    address = network.attrs["IPAM"]["Config"][0]["Gateway"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        threading.Thread(target=_deny_all_names, args=(server,), daemon=True).start()

        def alter(_world: World, body: dict[str, Any]) -> None:
            body["HostConfig"]["Dns"] = [address]
            body["Networks"][network.name] = {}

        try:
            with recreated(NODE, alter)(world):
                yield
        finally:
            network.remove()


def _deny_all_names(server: socket.socket) -> None:
    while True:
        try:
            query, peer = server.recvfrom(512)
        except OSError:
            return
        # NXDOMAIN, with the query's own number and question.
        server.sendto(query[:2] + struct.pack(">H", 0x8183) + query[4:], peer)


def joins(zone: str, part: str) -> Change:
    def network(world: World) -> Any:
        return world.docker.networks.get(f"maia-{world.stack.name}-{zone}")

    return undoing(
        lambda world: network(world).connect(world.container(part)),
        lambda world: network(world).disconnect(world.container(part), force=True),
    )


@contextmanager
def rogue(world: World) -> Iterator[None]:
    image = world.stack.plan.container(NODE).image_id
    container = world.docker.containers.run(
        image, ["sleep", "600"], entrypoint=[], name=world.name("rogue"), network_mode="none", detach=True
    )
    try:
        yield
    finally:
        container.remove(force=True)


@contextmanager
def paused(world: World) -> Iterator[None]:
    world.container(NODE).pause()
    try:
        yield
    finally:
        world.container(NODE).unpause()
        until(lambda: world.container(NODE).health == "healthy", "Docker found it healthy again")


def beside(*command: str, user: str = "") -> Change:
    """A process put into a running container."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        words = [word.format(secret=world.secrets["operator"]) for word in command]
        world.container(NODE).exec_run(words, user=user, detach=True)
        try:
            yield
        finally:
            world.container(NODE).restart()
            world.await_healthy(NODE)

    return change


def store(do: str, undo: str, *arguments: Any) -> Change:
    def call(name: str, *with_: Any) -> Any:
        return lambda world: getattr(Store(world.stack.plan, world.site).admin, name)(*with_)

    return undoing(call(do, *arguments), call(undo, arguments[0]))


@contextmanager
def public_bucket(world: World) -> Iterator[None]:
    client = Store(world.stack.plan, world.site).objects()
    client.make_bucket("mutation")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::mutation/*"],
    }
    try:
        client.set_bucket_policy("mutation", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        yield
    finally:
        client.remove_bucket("mutation")


@contextmanager
def expired_waiver(world: World) -> Iterator[None]:
    file = world.site.root / "waivers.yaml"
    yesterday = date.today() - timedelta(days=1)
    file.write_text(f"- check: baseline.readonly\n  reason: a trial\n  expires: {yesterday}\n")
    try:
        yield
    finally:
        file.unlink()


def alert(world: World) -> None:
    """Wait until the planted rule has been looked at, and fires for as long as it is there."""
    planted = "Planted" in world.file("prometheus", "config/alerts.yml").read_text()
    command = [
        "bash",
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /api/v1/alerts HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    ]
    found = world.container("prometheus")
    until(lambda: (b'"Planted"' in found.exec_run(command).output) == planted, "the planted alert comes and goes")


def planted_alert(text: str) -> str:
    rule = "{alert: Planted, expr: vector(1), labels: {severity: critical}}"
    return f"{text}\n  - name: planted\n    rules: [{rule}]\n"


def proxy(world: World) -> None:
    """Have the exit proxy read its configuration again, and wait until it refuses, or no more."""
    closed = "http_access allow all" not in world.file("exit", SQUID).read_text()
    world.container("exit").kill("HUP")
    ask = (
        "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET http://240.0.0.1/ HTTP/1.0\\r\\n\\r\\n' >&3;"
        ' read -r line <&3; echo "$line"'
    )

    def says() -> bool:
        output = bytes(world.container("exit").exec_run(["timeout", "20", "bash", "-c", ask]).output)
        return output.startswith(b"HTTP/") and (b" 403 " in output) == closed

    until(says, "the exit proxy follows its configuration")


def signed_by_nobody(_text: str) -> str:
    """A certificate from another authority, for another name."""
    return certificate.issue(["elsewhere"], *certificate.authority("stranger"))[0]


SQUID = "config/squid.conf"
HBA = "config/pg_hba.conf"
WEAK = "hostssl all all 10.0.0.0/8 md5\n"
TRUST = "host all all 10.0.0.0/8 trust\n"
RELOAD = "select pg_reload_conf()"

MUTATIONS: dict[str, tuple[set[str], Change]] = {
    # -- the baseline
    "image": ({f"baseline[{NODE}-image]"}, another_image),
    "user": ({f"baseline[{NODE}-user]"}, beside("sleep", "600", user="0:0")),
    "readonly": (
        {f"baseline[{NODE}-readonly]", f"deviations[{NODE}-declared]"},
        host(NODE, ReadonlyRootfs=False),
    ),
    "capabilities": (
        {f"baseline[{NODE}-capabilities]", f"deviations[{NODE}-declared]"},
        host(NODE, CapAdd=["CAP_NET_RAW"]),
    ),
    "powerless": (
        {f"baseline[{NODE}-{rule}]" for rule in ("capabilities", "powerless", "user")}
        | {f"deviations[{NODE}-declared]"},
        recreated(
            NODE,
            lambda _world, body: (body.update(User="0:0"), body["HostConfig"].update(CapAdd=["CAP_NET_RAW"]))[0],
        ),
    ),
    "no-new-privileges": ({f"baseline[{NODE}-no-new-privileges]"}, host(NODE, SecurityOpt=[])),
    "seccomp": (
        {f"baseline[{NODE}-seccomp]"},
        host(NODE, SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]),
    ),
    "memory": ({f"baseline[{NODE}-memory]"}, updated(NODE, Memory=2**28, MemorySwap=2**28)),
    "cpus": ({f"baseline[{NODE}-cpus]"}, updated(NODE, NanoCpus=10**9)),
    "pids": ({f"baseline[{NODE}-pids]"}, updated(NODE, PidsLimit=77)),
    "shared-memory": ({f"baseline[{NODE}-shared-memory]"}, host(NODE, ShmSize=2**20)),
    "restart": ({f"baseline[{NODE}-restart]"}, updated(NODE, RestartPolicy={"Name": "always", "MaximumRetryCount": 0})),
    "log-rotation": ({f"baseline[{NODE}-log-rotation]"}, host(NODE, LogConfig={"Type": "json-file", "Config": {}})),
    "healthcheck": ({f"baseline[{NODE}-healthcheck]"}, config(NODE, Healthcheck={"Test": ["CMD", "true"]})),
    "privileged": (
        {f"baseline[{NODE}-privileged]"},
        host(NODE, Devices=[{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]),
    ),
    "host-namespaces": ({f"baseline[{NODE}-host-namespaces]"}, host(NODE, IpcMode="shareable")),
    "docker-socket": (
        {f"baseline[{NODE}-docker-socket]", f"mounts[{NODE}-exact]"},
        host(NODE, Binds=["/var/run/docker.sock:/var/run/docker.sock"]),
    ),
    "command": (
        {f"baseline[{NODE}-command]"},
        recreated(NODE, lambda _world, body: body["Entrypoint"].append("--log.level=debug")),
    ),
    "scratch": ({f"baseline[{NODE}-scratch]"}, host(NODE, Tmpfs={"/tmp": "rw"})),
    "parts-exact": ({"parts[exact]"}, rogue),
    "parts-healthy": (
        {f"parts[{NODE}-healthy]"},
        paused,
    ),
    "mounts": ({f"mounts[{NODE}-exact]"}, host(NODE, Binds=["/srv:/srv:ro"])),
    # -- secrets and files
    "secrets-files": ({"secrets[redis-files]"}, mode(lambda world: world.file("redis", "secrets/health"), 0o444)),
    "secrets-environment": ({f"secrets[{NODE}-environment]"}, recreated(NODE, environment)),
    "secrets-command": ({f"secrets[{NODE}-command]"}, beside("sh", "-c", "sleep 600; : {secret}")),
    "config": ({"config[redis-read-only]"}, mode(lambda world: world.file("redis", "config/redis.conf"), 0o666)),
    "machine-passphrase": ({"machine[passphrase]"}, mode(lambda world: world.site.passphrase, 0o644)),
    "machine-site": ({"machine[site]"}, mode(lambda world: world.site.root, 0o755)),
    "machine-state": ({"machine[state]"}, mode(lambda world: world.site.state, 0o755)),
    "machine-administrators": (
        {"machine[administrators]"},
        mode(lambda world: world.site.files(world.stack.name) / "administrators", 0o755),
    ),
    "admin-socket": (
        {"admin[redis-socket]"},
        mode(lambda world: world.site.sockets(world.stack.name) / "redis", 0o755),
    ),
    "waivers": ({"waivers[valid]"}, expired_waiver),
    # -- networks
    "egress": (
        {"egress[redis-tcp]", "egress[redis-udp]", "egress[redis-route]", "attached[redis-networks]"},
        way_out,
    ),
    "egress-dns": (
        {f"egress[{NODE}-{rule}]" for rule in ("tcp", "udp", "dns", "resolver", "route")}
        | {f"attached[{NODE}-networks]"},
        outside_names,
    ),
    "zones": (
        {
            "zones[redis-separate]",
            "store_zone[minio-by-s3-only]",
            "networks[store-members]",
            "attached[redis-networks]",
        },
        joins("store", "redis"),
    ),
    "zones-reaches": (
        {"zones[gateway-reaches]"},
        undoing(
            lambda world: world.run("gateway", "nft", "insert rule inet gateway output tcp dport 9093 drop"),
            lambda world: world.run("gateway", "nft", "-f", "/etc/maia/firewall.nft"),
        ),
    ),
    "gateway-filter": (
        {"gateway_filter[gateway-filter]", "egress[gateway-tcp]", "egress[gateway-udp]"},
        undoing(
            lambda world: world.run("gateway", "nft", "insert rule inet gateway output accept"),
            lambda world: world.run("gateway", "nft", "-f", "/etc/maia/firewall.nft"),
        ),
    ),
    "exit": (
        {"exit[ungranted-refused]"},
        edited("exit", SQUID, replacing("http_access deny all", "http_access allow all"), reread=proxy),
    ),
    # -- the gateway
    "tls-old": (
        {"tls[1.0-refused]", "tls[1.1-refused]"},
        edited(
            "gateway",
            NGINX,
            lambda text: text.replace("TLSv1.2 TLSv1.3;", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;").replace(
                "ssl_ciphers ", "ssl_ciphers ALL:@SECLEVEL=0:"
            ),
            "HUP",
        ),
    ),
    "tls-new": ({"tls[1.3-accepted]"}, edited("gateway", NGINX, replacing("TLSv1.2 TLSv1.3;", "TLSv1.2;"), "HUP")),
    "header": (
        {"gateway[X-Content-Type-Options-header]"},
        edited("gateway", NGINX, replacing("add_header X-Content-Type-Options nosniff always;", ""), "HUP"),
    ),
    "version": (
        {"gateway[version-hidden]"},
        edited("gateway", NGINX, replacing("server_tokens off;", "server_tokens on;"), "HUP"),
    ),
    "unknown-host": (
        {"gateway[unknown-host]"},
        edited("gateway", NGINX, replacing("return 421;", "return 200;"), "HUP"),
    ),
    "login-asked": (
        {f"gateway[{part}-login-asked]" for part in ("prometheus", "alertmanager", "status")}
        | {"gateway[default-credentials]"},
        edited("gateway", NGINX, replacing('auth_basic "MAIA operator";', "auth_basic off;"), "HUP"),
    ),
    "operator-default": (
        {"gateway[default-credentials]"},
        edited("gateway", "secrets/operators", lambda text: f"{text.rstrip()}\nadmin:{{PLAIN}}admin\n"),
    ),
    "certificate": (
        {"certificate[gateway-issuer]", "certificate[gateway-names]"},
        edited("gateway", "secrets/tls.crt", signed_by_nobody),
    ),
    # -- Postgres
    **{
        f"setting-{name}": ({f"setting[postgres-{name}]", "database[postgres-altered]"}, system(name, value))
        for name, value in {
            "fsync": "off",
            "full_page_writes": "off",
            "log_disconnections": "off",
            "log_parameter_max_length": "-1",
            "log_statement": "all",
            "max_parallel_maintenance_workers": "2",
            "password_encryption": "md5",
            "pgaudit.log": "none",
            "ssl_min_protocol_version": "TLSv1",
            "synchronous_commit": "off",
        }.items()
    },
    "setting-restart": (
        {"database[postgres-altered]", "database[postgres-pending-restart]"},
        system("wal_level", "replica"),
    ),
    "login-rules": ({"database[postgres-login-rules]"}, edited("postgres", HBA, lambda text: text + WEAK)),
    "without-tls": (
        {"database[postgres-login-rules]", "refusals[postgres-without-tls]"},
        edited("postgres", HBA, lambda text: text + TRUST, reread=lambda world: world.sql(RELOAD)),
    ),
    "wrong-password": (
        {f"refusals[postgres-{rule}]" for rule in ("wrong-password", "without-tls", "default-credentials")}
        | {"database[postgres-login-rules]"},
        edited("postgres", HBA, lambda text: TRUST + text, reread=lambda world: world.sql(RELOAD)),
    ),
    "superusers": ({"database[postgres-superusers]"}, sql("create role evil superuser", "drop role evil")),
    "superuser-password": (
        {"database[postgres-superuser-password]"},
        sql("alter role postgres password 'a'", "alter role postgres password null"),
    ),
    "logins": ({"database[postgres-logins]"}, sql("create role stranger login", "drop role stranger")),
    "parts-present": (
        {"database[postgres-parts-present]"},
        sql("alter role postgres_exporter rename to gone", "alter role gone rename to postgres_exporter"),
    ),
    "owners": ({"database[postgres-owners]"}, sql("create database open_to_all", "drop database open_to_all")),
    "default-credentials": (
        {"database[postgres-logins]", "refusals[postgres-default-credentials]"},
        sql("create role supabase_admin login password 'postgres'", "drop role supabase_admin"),
    ),
    # -- Redis
    "redis-durable": (
        {"redis_setting[redis-appendonly]", "redis[redis-writes]"},
        cache(("CONFIG", "SET", "appendonly", "no"), ("CONFIG", "SET", "appendonly", "yes")),
    ),
    "redis-setting": (
        {"redis_setting[redis-maxmemory-policy]"},
        cache(
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("CONFIG", "SET", "maxmemory-policy", "noeviction")
        ),
    ),
    "redis-users": (
        {"redis[redis-users]"},
        cache(("ACL", "SETUSER", "stranger"), ("ACL", "DELUSER", "stranger")),
    ),
    "redis-default": (
        {f"redis[redis-{rule}]" for rule in ("default-off", "unauthenticated", "default-credentials")},
        cache(("ACL", "SETUSER", "default", "on", "nopass", "+ping"), ("ACL", "LOAD")),
    ),
    "redis-rules": (
        {"redis[redis-exporter-rules]"},
        cache(("ACL", "SETUSER", "redis-exporter", "+get"), ("ACL", "LOAD")),
    ),
    # -- the object store
    "s3-headers": (
        {"s3_route[s3-replication-headers]"},
        edited(
            "s3",
            NGINX,
            lambda text: "\n".join(line for line in text.splitlines() if "X-Minio-Replication-Server" not in line),
            "HUP",
        ),
    ),
    "s3-query": (
        {"s3_route[s3-replication-query]"},
        edited("s3", NGINX, replacing("x-minio-", "x-nothing-"), "HUP"),
    ),
    "s3-admin": ({"s3_route[s3-admin-hidden]"}, edited("s3", NGINX, replacing("return 403;", "return 200;"), "HUP")),
    "store-users": ({"store[minio-users]"}, store("user_add", "user_remove", "stranger-1", "a-long-enough-secret")),
    "store-default": (
        {"store[minio-users]", "store[minio-default-credentials]"},
        store("user_add", "user_remove", "minioadmin", "minioadmin"),
    ),
    "store-private": ({"store[minio-private]"}, public_bucket),
    # -- measurements
    "scrapes": (
        {"scrapes[present]", "scrapes[up]"},
        edited("prometheus", "config/prometheus.yml", replacing("redis-exporter:9121", "redis-exporter:9999"), "HUP"),
    ),
    "alerts": (
        {"alerts[none-critical]"},
        edited("prometheus", "config/alerts.yml", planted_alert, "HUP", reread=alert),
    ),
}
QUICK = ("egress", "user", "login-rules", "redis-default", "gateway-filter")
"""Run each time; the others with --full."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in MUTATIONS]
)
def test_a_change_turns_just_its_checks_red(world: World, name: str) -> None:
    expected, change = MUTATIONS[name]
    with change(world):
        assert red(world, any(check.startswith(MEASURED) for check in expected)) == expected


@pytest.mark.long
def test_after_all_of_them_everything_is_green(world: World) -> None:
    assert red(world, measured=False) == set()
