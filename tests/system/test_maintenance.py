"""What a database wants is found and mended, the disk's end is foreseen, and a disk without room loses nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException

from infra import forecast
from infra.catalog.model import Zone
from infra.images import store
from infra.measurements import Measurements
from tests import clients
from tests.conftest import Appliance

DATABASE = "maia_test_room"
DAY = 86400
ROWS = 1_000_000
WORN = f"""
create schema worn;
create table worn.pages (id int) with (autovacuum_enabled = off);
insert into worn.pages select generate_series(1, {ROWS});
create index pages_idx on worn.pages (id);
delete from worn.pages where id % 20 > 0;
"""
BOUND = 60.0
"""Seconds for something to become true."""


@contextmanager
def link(appliance: Appliance) -> Iterator[psycopg.Connection[Any]]:
    socket = str(appliance.site.sockets(appliance.name) / "postgres")
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as made:
        yield made


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.2)


def advice(appliance: Appliance, *words: str) -> dict[str, str]:
    """What ``maintain`` says, by object."""
    found = json.loads(appliance.maia("maintain", "--json", *words).stdout)["advice"]
    told: dict[str, str] = {}
    for each in found:
        told[each["object"]] = told.get(each["object"], "") + each["what"] + "\n"
    return told


@pytest.fixture
def worn(appliance: Appliance) -> Iterator[None]:
    """A table and its index, which nineteen of twenty rows have left."""
    with link(appliance) as postgres:
        postgres.execute(WORN.encode())
        postgres.execute("select pg_stat_force_next_flush()")
        yield
        postgres.execute("drop schema worn cascade")


@pytest.mark.usefixtures("worn")
def test_dead_rows_and_empty_indexes_are_found_and_mended(appliance: Appliance) -> None:
    assert "dead rows" in advice(appliance)["worn.pages"]
    said = appliance.maia("doctor", check=False)
    assert "worn.pages" in said.stdout
    assert "./maia maintain" in said.stdout
    left = advice(appliance, "--apply")  # the vacuum is what shows how empty the index is
    assert "dead rows" not in left.get("worn.pages", "")
    assert "worn.pages_idx" not in left
    with link(appliance) as postgres:
        assert postgres.execute("select pg_relation_size('worn.pages_idx') < 4000000").fetchone() == (True,)
        assert postgres.execute("select 1 from pg_extension where extname = 'pgstattuple'").fetchone() is None


@pytest.mark.usefixtures("worn")
def test_what_tables_want_is_looked_for_by_the_hour_and_told_to_prometheus(appliance: Appliance) -> None:
    with link(appliance) as postgres:
        postgres.execute("select pg_stat_force_next_flush()")
    appliance.maia("restart", "backup")  # it begins with a look
    asked = Measurements(appliance.stack.plan, appliance.site, appliance.secret("operator"))
    wanted = 'maia_care_wanted{database="postgres", action="vacuum"} >= 1'
    until(lambda: bool(asked.query(wanted)))


@pytest.fixture
def connect(appliance: Appliance) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """An app's way to a database of its own."""
    with (
        clients.database_login(appliance.stack, DATABASE) as (login, password),
        clients.visitor(appliance.stack, Zone.DATA) as visitor,
        visitor.forwarded("postgres", 5432) as port,
    ):
        yield lambda: psycopg.connect(
            host="postgres", hostaddr="127.0.0.1", port=port, dbname=DATABASE, user=login, password=password,
            sslmode="verify-full", sslrootcert=appliance.ca, autocommit=True, connect_timeout=20,
        )  # fmt: skip


def test_without_room_the_databases_are_read_and_not_written_until_there_is_room(
    appliance: Appliance, connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    with connect() as app:
        app.execute("create table visits (id int)")

        def writes() -> bool:
            try:
                app.execute("insert into visits values (1)")
            except psycopg.errors.ReadOnlySqlTransaction:
                return False
            return True

        assert writes()
        try:
            appliance.write({"care": {"reserve": 2**30}})  # more than this disk has
            appliance.maia("up", "--skip-checks")
            until(lambda: not writes())
            (before,) = app.execute("select count(*) from visits").fetchone() or (0,)
            assert before > 0
            with link(appliance) as postgres:
                postgres.execute("create table roomy (id int); drop table roomy")  # who makes room is not held
            assert "the databases take no writes" in appliance.maia("doctor", check=False).stdout
            assert "read-only until there is more" in appliance.maia("logs", "backup").stdout
            assert app.execute("select count(*) from visits").fetchone() == (before,)
        finally:
            appliance.values.pop("care")
            appliance.write()
            appliance.maia("up", "--skip-checks")
        until(writes)
    assert "take no writes" not in appliance.maia("doctor", check=False).stdout


@pytest.fixture
def measured(appliance: Appliance, tmp_path: Path) -> Iterator[PrometheusConnect]:
    """A Prometheus that has seen a disk lose 2 GB a day for three days, half of it to one database."""
    image = store.lookup("prometheus")
    assert image
    now, lines = int(time.time()), []
    samples = [(now - 3 * DAY + step, step / DAY) for step in range(0, 3 * DAY + 1, 300)]
    lines.append("# TYPE node_filesystem_avail_bytes gauge")
    lines += [
        f'node_filesystem_avail_bytes{{device="/dev/a",fstype="ext4"}} {46e9 - 2e9 * days} {at}' for at, days in samples
    ]
    lines.append("# TYPE pg_database_size_bytes gauge")
    lines += [f'pg_database_size_bytes{{datname="app"}} {1e9 + 1e9 * days} {at}' for at, days in samples]
    (tmp_path / "history").write_text("\n".join([*lines, "# EOF", ""]))
    (tmp_path / "prometheus.yml").write_text("{}\n")
    data = tmp_path / "data"
    data.mkdir()
    for path in (tmp_path, data):
        path.chmod(0o777)
    shared = ["docker", "run", "--rm", "--cap-drop=ALL", f"--volume={tmp_path}:/work", "--workdir=/work"]
    subprocess.run(
        [*shared, image.id, *["promtool", "tsdb", "create-blocks-from", "openmetrics", "/work/history", "/work/data"]],
        check=True,
        capture_output=True,
    )
    client = docker.from_env()
    server = client.containers.run(
        image.id,
        ["prometheus", "--config.file=/work/prometheus.yml", "--storage.tsdb.path=/work/data"],
        detach=True,
        cap_drop=["ALL"],
        volumes=[f"{tmp_path}:/work"],
    )
    try:
        server.reload()
        address = server.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        found = PrometheusConnect(url=f"http://{address}:9090", timeout=5)
        until(lambda: answers(found))
        yield found
    finally:
        server.remove(force=True)


def answers(prometheus: PrometheusConnect) -> bool:
    try:
        return bool(prometheus.custom_query("node_filesystem_avail_bytes"))
    except (OSError, PrometheusApiClientException):
        return False


def test_the_end_of_the_disk_is_foreseen_from_its_growth(measured: PrometheusConnect) -> None:
    class Seen:
        def query(self, expression: str) -> Any:
            return measured.custom_query(expression)

    found = forecast.look(Seen())  # type: ignore[arg-type]  # the same Prometheus without a gateway before it
    assert found
    assert found.days == pytest.approx(20, abs=0.5)
    assert found.soon
    ((name, pace),) = found.growing
    assert name == "database app"
    assert pace == pytest.approx(1e9, rel=0.02)
