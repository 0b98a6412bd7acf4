"""Each check can fail: a change made behind the appliance's back turns red just the checks that are about it.

What has no mutation is in ``UNTRIED``, with the reason; a unit test keeps that list complete.
"""

from __future__ import annotations

import pytest

import checks
from infra.cli import common
from infra.stack import Stack
from tests.system.changes import (
    NODE,
    SQUID,
    alert,
    another_image,
    another_port,
    archive_shut,
    beside,
    environment,
    expired_waiver,
    expiring,
    joins,
    outside_names,
    paused,
    planted_alert,
    proxy,
    public_bucket,
    remembering,
    rogue,
    signed_by_nobody,
    store,
    way_out,
)
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
    updated,
)

NGINX = "config/nginx.conf"


MEASURED = ("scrapes", "alerts")
"""Subjects that look back at the minutes before, with the mutations in them: run where a mutation is about them."""


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    return World(stack, common.engine(stack, lambda _line: None).secrets())


def red(world: World, measured: bool) -> set[str]:
    """The failed checks; latency is left out, since it is also that of what else this machine does."""
    keyword = " and ".join(f"not {subject}" for subject in ("latency", *(() if measured else MEASURED)))
    result = checks.run(world.stack, say=lambda _line: None, secrets=world.secrets, keyword=keyword)
    return {row.check for row in result.failed}


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
    "groups": ({f"baseline[{NODE}-groups]"}, host(NODE, GroupAdd=["703"])),
    "backup-good": ({"backup[backup-good]"}, remembering(point_error="planted")),
    "drill-good": ({"drill[backup-good]"}, remembering(drill_tried=1, drill_error="planted")),
    "drill-recent": ({"drill[backup-recent]"}, remembering(drill_tried=1, drill_error="", drill_succeeded=1)),
    "backup-wal": ({"backup[backup-wal]"}, archive_shut),
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
    "published": (
        {"attached[gateway-published]", "ports[exact]", "gateway[plain-on-loopback]"},
        recreated("gateway", another_port),
    ),
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
        {"certificate[gateway-issuer]", "certificate[gateway-names]", "certificate[gateway-presented]"},
        edited("gateway", "secrets/tls.crt", signed_by_nobody),
    ),
    "certificate-days": ({"certificate[gateway-days]", "served[localhost-until]"}, expiring),
    # -- Postgres
    **{
        f"setting-{name}": ({f"setting[postgres-{name}]", "database[postgres-altered]"}, system(name, value))
        for name, value in {
            "fsync": "off",
            "full_page_writes": "off",
            "log_disconnections": "off",
            "log_error_verbosity": "verbose",
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
    "scram-only": (
        {"database[postgres-scram-only]"},
        sql("set password_encryption = 'md5'; create role old password 'a'", "drop role old"),
    ),
    "owners": ({"database[postgres-owners]"}, sql("create database open_to_all", "drop database open_to_all")),
    "schema": (
        {"database[postgres-schema]"},
        sql(
            "alter table maia.session_notes no force row level security",
            "alter table maia.session_notes force row level security",
            database="maia",
        ),
    ),
    "schema-login": (
        {f"database[postgres-{rule}]" for rule in ("schema", "superusers", "logins")},
        sql("alter role service_role login", "alter role service_role nologin"),
    ),
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
    "redis-protected": (
        {"redis_setting[redis-protected-mode]"},
        cache(("CONFIG", "SET", "protected-mode", "no"), ("CONFIG", "SET", "protected-mode", "yes")),
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
UNTRIED = {
    **dict.fromkeys(
        (
            "database.extensions",
            "database.preloaded",
            "setting.archive_mode",
            "setting.data_checksums",
            "setting.unix_socket_permissions",
            "setting.wal_level",
            "redis_setting.enable-debug-command",
            "redis_setting.enable-module-command",
            "redis_setting.enable-protected-configs",
        ),
        "cannot change while the server runs",
    ),
    **dict.fromkeys(
        ("tls.name", "tls.1.2-accepted", "gateway.plain-on-tls", "setting.ssl"),
        "the change would cut off the other checks too",
    ),
    "gateway.challenges-only": "test_acme.py turns it red, on a stack that has such a port",
    **dict.fromkeys(
        ("accounts.owned", "accounts.secured", "auth.metrics-hidden", "auth.published-keys", "auth.unknown-key"),
        "auth/test_part.py turns it red, on a stack that has the part",
    ),
    "backup.copied": "test_copies.py turns it red, on a stack that has a copy",
    "backup.elsewhere": "says where the archive is, and is skipped where that is the same disk",
    "backup.recent": "the stack of the tests wants no daily point",
    "machine.docker-socket": "the socket belongs to the machine, not to the stack",
    "networks.exact": "a network's settings are fixed for life, and it cannot be replaced under its members",
    "ports.answer": "a forwarder without its container is the engine's own fault",
    "egress.machine-control": "it is the control of the others: without listeners nothing could be met",
    "scrapes.probes": "what is probed is the gateway, through which the question is asked",
    "latency.postgres": "no change makes it slow for sure",
    "latency.prometheus": "no change makes it slow for sure",
    "s3_route.anonymous": "MinIO has no setting that lets everybody list everything",
    "store.buckets": "only where an app has a bucket, and that holds its data",
    "store_user.policy": "only where an app has a bucket",
}
"""Rules without a mutation, and why."""
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
