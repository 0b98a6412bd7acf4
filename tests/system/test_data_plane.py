"""The data plane does a day's work: rows, vectors, objects, keys; and all of it is seen in Prometheus."""

from __future__ import annotations

import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import docker
import psycopg
import pytest
import redis
import urllib3
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from infra.catalog.model import Zone
from infra.components import cache, database
from infra.credentials import of_part
from infra.stack import Stack
from tests import clients
from tests.clients import Bucket, Visitor
from tests.conftest import Appliance

SCALE = 10
ROWS = SCALE * 100_000
DATABASE = "maia_test_load"
PATIENCE = 120
"""Seconds until two scrapes must have seen what was done."""


@dataclass(frozen=True)
class Load:
    """A database of the tests' own, as an app that owns it reaches it."""

    visitor: Visitor
    login: str
    password: str = field(repr=False)
    ca: str

    @property
    def address(self) -> str:
        """For clients in the visitor; the password is in its pgpass file."""
        return f"host=postgres dbname={DATABASE} user={self.login} sslmode=verify-full sslrootcert=/ca.crt"

    def connect(self, port: int, **changes: Any) -> psycopg.Connection[Any]:
        """From this machine, through a port that leads there."""
        wanted: dict[str, Any] = {
            "host": "postgres",
            "hostaddr": "127.0.0.1",
            "port": port,
            "user": self.login,
            "password": self.password,
            "dbname": DATABASE,
            "sslmode": "verify-full",
            "sslrootcert": self.ca,
            "autocommit": True,
            "connect_timeout": 20,
        }
        return psycopg.connect(**wanted | changes)


@pytest.fixture(scope="module")
def load(appliance: Appliance) -> Iterator[Load]:
    """The database, with pgbench's data in it."""
    with clients.database_login(appliance.stack, DATABASE) as (login, password):
        with clients.visitor(appliance.stack, Zone.DATA, f"postgres:5432:{DATABASE}:{login}:{password}\n") as visitor:
            made = Load(visitor, login, password, appliance.ca)
            visitor.run("pgbench", "--initialize", f"--scale={SCALE}", "--quiet", made.address)
            yield made


@pytest.fixture(scope="module")
def link(load: Load) -> Iterator[psycopg.Connection[Any]]:
    with load.visitor.forwarded("postgres", 5432) as port, load.connect(port) as made:
        yield made


@pytest.fixture
def root(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """As the machine's root, over the administrative socket."""
    with database.administer(str(stack.site.sockets(stack.name) / "postgres")) as made:
        yield made


@pytest.fixture(scope="module")
def neighbour(stack: Stack) -> Iterator[Bucket]:
    with clients.bucket(stack, "maia-test-neighbour") as made:
        yield made


@pytest.fixture(scope="module")
def measured(appliance: Appliance) -> Iterator[Callable[[str], float]]:
    """Asks Prometheus, through the gateway, for the sum of a query; NaN where nothing answers to it."""
    with clients.operator(appliance) as client:

        def ask(query: str) -> float:
            answer = client.get("/ops/prometheus/api/v1/query", params={"query": f"sum({query})"})
            answer.raise_for_status()
            found = answer.json()["data"]["result"]
            return float(found[0]["value"][1]) if found else float("nan")

        yield ask


def until(true: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit, f"not within {PATIENCE} s: {what}"
        time.sleep(1)


# -- Postgres ---------------------------------------------------------------------------------------------------------


def test_a_real_data_set_is_loaded_and_worked_on_over_tls(load: Load, link: psycopg.Connection[Any]) -> None:
    said = load.visitor.run("pgbench", "--client=4", "--transactions=250", "--no-vacuum", load.address)
    assert "number of failed transactions: 0" in said
    assert "number of transactions actually processed: 1000/1000" in said
    assert link.execute("select count(*) from pgbench_accounts").fetchone() == (ROWS,)
    assert link.execute("select count(*) from pgbench_history").fetchone() == (1000,)
    balances = [
        link.execute(f"select sum({name[:1]}balance) from pgbench_{name}".encode()).fetchone()
        for name in ("accounts", "tellers", "branches")
    ]
    assert balances[0] == balances[1] == balances[2]


def test_a_session_over_the_network_is_tls_and_scram_only(
    load: Load, link: psycopg.Connection[Any], root: psycopg.Connection[Any]
) -> None:
    versions = root.execute("select version from pg_stat_ssl where pid = %s", [link.info.backend_pid]).fetchall()
    assert versions == [("TLSv1.3",)]
    with load.visitor.forwarded("postgres", 5432) as port:
        with pytest.raises(psycopg.OperationalError, match="no encryption"):
            load.connect(port, sslmode="disable")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            load.connect(port, password=secrets.token_urlsafe(24))
        with pytest.raises(psycopg.OperationalError, match="reject"):
            load.connect(port, user="postgres")
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            load.connect(port, host="elsewhere")


def test_what_a_login_makes_belongs_to_its_part_and_outlives_the_login(link: psycopg.Connection[Any]) -> None:
    owners = link.execute("select distinct tableowner from pg_tables where tablename like 'pgbench%'").fetchall()
    assert owners == [(DATABASE,)]


@pytest.mark.parametrize(
    "statement",
    [
        "create role intruder",
        "create database intruder",
        "copy pgbench_branches to program 'cat'",
        "copy pgbench_branches to '/tmp/out'",
        "select pg_read_file('/run/secrets/tls.key')",
        "create function boom() returns void language c as 'x'",
        "alter system set log_statement = 'all'",
        "load 'x'",
    ],
)
def test_the_owner_of_a_database_is_no_superuser(link: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute(statement.encode())


def test_the_nearest_vectors_are_found_with_and_without_a_filter(link: psycopg.Connection[Any]) -> None:
    assert link.execute("select extversion from pg_extension where extname = 'vector'").fetchone() == ("0.8.0",)
    link.execute("create table points (id int primary key, tenant int, place vector(16))")
    link.execute(
        "insert into points select n, n % 50,"
        " (select array_agg(sin(n * k * 0.37) + cos(n + k * 1.7)) from generate_series(1, 16) k)::vector"
        " from generate_series(1, 3000) n"
    )
    link.execute("create index on points using hnsw (place vector_l2_ops) with (m = 16, ef_construction = 64)")
    link.execute("analyze points")
    question = "select id from points {} order by place <-> (select place from points where id = 1234) limit 10"
    for condition, least in (("", 9), ("where tenant = 7", 9)):
        query = question.format(condition)
        link.execute("set enable_indexscan = off")
        exact = {row[0] for row in link.execute(query.encode()).fetchall()}
        link.execute("reset enable_indexscan")
        link.execute("set enable_seqscan = off")
        link.execute("set enable_bitmapscan = off")
        plan = "\n".join(row[0] for row in link.execute(b"explain " + query.encode()).fetchall())
        assert "points_place_idx" in plan
        found = {row[0] for row in link.execute(query.encode()).fetchall()}
        link.execute("reset enable_seqscan")
        link.execute("reset enable_bitmapscan")
        assert len(found) == len(exact) == 10, "an index must not return fewer rows than asked for"
        assert len(found & exact) >= least


def test_statements_are_counted_and_changes_of_the_schema_audited_without_a_secret(
    link: psycopg.Connection[Any], root: psycopg.Connection[Any], stack: Stack
) -> None:
    mark, password = f"mark_{secrets.token_hex(6)}", secrets.token_urlsafe(24)
    root.execute("create extension if not exists pg_stat_statements")
    link.execute(f"create table {mark} (n int)".encode())
    for _ in range(3):
        link.execute(f"select n from {mark}".encode())
    counted = root.execute("select calls from pg_stat_statements where query like %s", [f"select n from {mark}"])
    assert counted.fetchone() == (3,)
    root.execute(f"create role {mark} password '{password}'".encode())
    root.execute(f"drop role {mark}".encode())
    stored = root.execute("select count(*) from pg_stat_statements where query like %s", [f"%{password}%"])
    assert stored.fetchone() == (0,)
    container = docker.from_env().containers.get(stack.plan.container("postgres").name)

    def log() -> str:
        return container.logs(tail=2000).decode()

    until(lambda: f"DROP ROLE,,,drop role {mark}" in log(), "the audit's last line")
    assert re.search(rf"AUDIT: SESSION,\d+,\d+,DDL,CREATE TABLE,.*create table {mark}", log())
    assert re.search(rf"AUDIT: SESSION,\d+,\d+,ROLE,CREATE ROLE,,,\"?create role {mark}", log())
    assert password not in log()


# -- objects ----------------------------------------------------------------------------------------------------------


def test_objects_are_stored_and_read_through_the_s3_route(load: Load, bucket: Bucket) -> None:
    client = load.visitor.objects(bucket.user, bucket.password)
    small, large, name = os.urandom(1000), os.urandom(12 << 20), "folder/a b+ä.bin"
    client.put_object(bucket.name, name, io.BytesIO(small), len(small), metadata={"kind": "test"})
    assert client.get_object(bucket.name, name).read() == small
    assert (client.stat_object(bucket.name, name).metadata or {})["x-amz-meta-kind"] == "test"
    client.put_object(bucket.name, "large", io.BytesIO(large), -1, part_size=5 << 20)
    assert str(client.stat_object(bucket.name, "large").etag).endswith("-3"), "it was not sent in parts"
    assert client.get_object(bucket.name, "large").read() == large
    assert client.get_object(bucket.name, "large", offset=5 << 20, length=9).read() == large[5 << 20 :][:9]
    assert [found.object_name for found in client.list_objects(bucket.name, prefix="folder/")] == [name]
    assert list(client.remove_objects(bucket.name, [DeleteObject("large")])) == []
    with pytest.raises(S3Error, match="NoSuchKey"):
        client.stat_object(bucket.name, "large")


def test_a_presigned_url_works_for_its_request_alone(load: Load, bucket: Bucket) -> None:
    client = load.visitor.objects(bucket.user, bucket.password)
    client.put_object(bucket.name, "signed", io.BytesIO(b"signed"), 6)
    url = client.presigned_get_object(bucket.name, "signed", expires=timedelta(minutes=5))
    with load.visitor.forwarded("s3", 9000) as port:

        def get(address: str) -> urllib3.BaseHTTPResponse:
            here = address.replace("http://s3:9000", f"http://127.0.0.1:{port}")
            return urllib3.request("GET", here, headers={"Host": "s3:9000"}, retries=False)

        answer = get(url)
        assert (answer.status, answer.data) == (200, b"signed")
        assert get(url.replace("/signed?", "/other?")).status == 403
        assert get(url.partition("?")[0]).status == 403


def test_a_user_meets_its_own_bucket_only(load: Load, bucket: Bucket, neighbour: Bucket) -> None:
    own = load.visitor.objects(bucket.user, bucket.password)
    other = load.visitor.objects(neighbour.user, neighbour.password)
    other.put_object(neighbour.name, "private", io.BytesIO(b"private"), 7)
    refused: list[Callable[[], Any]] = [
        lambda: own.get_object(neighbour.name, "private"),
        lambda: own.put_object(neighbour.name, "planted", io.BytesIO(b"x"), 1),
        lambda: own.remove_object(neighbour.name, "private"),
        lambda: list(own.list_objects(neighbour.name)),
        lambda: own.make_bucket("maia-test-third"),
        lambda: own.remove_bucket(bucket.name),
        lambda: own.set_bucket_policy(bucket.name, '{"Version":"2012-10-17","Statement":[]}'),
        lambda: own.delete_bucket_policy(bucket.name),
    ]
    for attempt in refused:
        with pytest.raises(S3Error, match="AccessDenied"):
            attempt()
    assert [found.name for found in own.list_buckets()] == [bucket.name]
    assert other.get_object(neighbour.name, "private").read() == b"private"


# -- Redis ------------------------------------------------------------------------------------------------------------


def test_the_redis_user_of_the_exporter_may_measure_and_nothing_else(
    load: Load, stack: Stack, appliance: Appliance
) -> None:
    secret = {"redis-exporter-redis": appliance.secret("redis-exporter-redis")}
    login = of_part(stack.plan, "redis-exporter", secret)("redis")
    with load.visitor.forwarded("redis", 6379) as port:
        with redis.Redis(port=port, username=login.user, password=login.password) as link:
            assert link.ping()
            assert link.info()["redis_version"]
            assert link.dbsize() is not None
            refused = ("GET x", "SET x 1", "KEYS *", "ACL LIST", "CONFIG SET maxmemory 1", "FLUSHALL", "EVAL x 0")
            for command in (*refused, "SUBSCRIBE x", "PUBLISH x y", "SHUTDOWN", "MODULE LIST"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    link.execute_command(*command.split())
        for user, password in (("default", ""), (login.user, "wrong"), ("admin", login.password)):
            with redis.Redis(port=port, username=user, password=password) as link:
                with pytest.raises(redis.exceptions.AuthenticationError):
                    link.ping()


def test_a_part_with_redis_keeps_to_its_own_keys(load: Load, stack: Stack) -> None:
    name, password = "maia-test", secrets.token_urlsafe(24)
    props: dict[str, Any] = {
        "socket": str(stack.site.sockets(stack.name) / "redis"),
        "admin": str(stack.site.files(stack.name) / "administrators" / "redis"),
        "user": name,
        "keys": [f"{name}:*"],
        "channels": [f"{name}:*"],
        "commands": ["+@all", "-@admin", "-@dangerous", "+info"],
        "password": password,
    }
    try:
        cache.ensure_user(props)
        with load.visitor.forwarded("redis", 6379) as port:
            with redis.Redis(port=port, username=name, password=password) as link:
                assert link.set(f"{name}:a", "1", ex=60)
                assert link.get(f"{name}:a") == b"1"
                assert link.publish(f"{name}:events", "x") == 0
                for attempt in (
                    lambda: link.set("other:a", "1"),
                    lambda: link.get("other:a"),
                    lambda: link.publish("other", "x"),
                    lambda: link.rename(f"{name}:a", "other:a"),
                    link.flushall,
                    link.acl_list,
                ):
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        attempt()
                link.delete(f"{name}:a")
    finally:
        cache.drop_password(props)


# -- seen in Prometheus -----------------------------------------------------------------------------------------------


def test_every_scrape_target_is_up(appliance: Appliance) -> None:
    expected = {f"{target.part}:{target.scrape.port}" for target in appliance.stack.plan.targets}
    seen: dict[str, str] = {}

    with clients.operator(appliance) as client:

        def up() -> bool:
            answer = client.get("/ops/prometheus/api/v1/targets", params={"state": "active"})
            targets = answer.json()["data"]["activeTargets"]
            seen.update({t["labels"]["instance"]: t["health"] for t in targets if t["labels"]["job"] != "probe"})
            return all(seen.get(name) == "up" for name in expected)

        until(up, "every target up")
        assert seen.keys() == expected


def test_what_the_data_plane_did_is_seen_in_prometheus(
    load: Load, bucket: Bucket, measured: Callable[[str], float]
) -> None:
    committed = f'pg_stat_database_xact_commit{{datname="{DATABASE}"}}'
    size = f'pg_database_size_bytes{{datname="{DATABASE}"}}'
    objects, commands = 'minio_s3_requests_total{api="putobject"}', "redis_commands_processed_total"
    until(lambda: measured(size) > 100 * 2**20, "the size of the database")
    before = {query: measured(query) for query in (objects, commands)}
    transactions = 500
    seen = measured(committed)
    load.visitor.run("pgbench", "--client=1", f"--transactions={transactions}", "--no-vacuum", load.address)
    client = load.visitor.objects(bucket.user, bucket.password)
    for number in range(5):
        client.put_object(bucket.name, f"counted/{number}", io.BytesIO(b"x"), 1)
    until(lambda: measured(committed) >= seen + transactions, "the transactions")
    until(lambda: not measured(objects) < before[objects] + 5, "the uploads")
    until(lambda: measured(commands) > before[commands], "Redis's commands")


def test_prometheus_knows_the_rules_and_no_alert_of_the_data_plane_fires(appliance: Appliance) -> None:
    with clients.operator(appliance) as client:

        def groups() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.get("/ops/prometheus/api/v1/rules").json()["data"]["groups"]
            return found

        def firing() -> set[str]:
            names = {r["name"] for g in groups() for r in g["rules"] if r["state"] == "firing"}
            return {name for name in names if name.startswith(("Postgres", "Redis", "Minio"))}

        until(lambda: all(r["health"] == "ok" for g in groups() for r in g["rules"]), "every rule evaluated")
        until(lambda: not firing(), "no alert of the data plane")
        assert {"postgres", "redis", "objects"} <= {group["name"] for group in groups()}
