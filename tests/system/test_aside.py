"""One database, one table, one bucket of a point, brought back beside what is live."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import docker
import pytest

from checks.store import Store
from tests.conftest import Appliance, small
from tests.processes import kill_all
from tests.system.test_backup import BUCKET, fill, sql

SHOP = """
create extension if not exists vector;
create schema "Till";
create type "Till".colour as enum ('red', 'green');
create table "Till"."Sale" (id bigserial primary key, what "Till".colour, at timestamptz default now(), near vector(3));
insert into "Till"."Sale" (what, near) select 'red', '[1,2,3]' from generate_series(1, 500);
create table public.customer (id int primary key, name text);
insert into public.customer values (1, 'Ada'), (2, 'Grace');
create view public.names as select name from public.customer;
create materialized view public.counted as select count(*) from public.customer;
"""


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack with two databases and a bucket, a point of it, and damage since."""
    with small(tmp_path_factory.mktemp("aside") / "site") as made:
        made.disable("prometheus", "status", "postgres-exporter", "redis-exporter")
        made.write()
        made.maia("up", "--skip-checks")
        for name in ("shop", "other"):
            sql(made, "postgres", f"create database {name}")
            sql(made, "postgres", f"revoke all on database {name} from public")
        sql(made, "shop", SHOP)
        sql(made, "other", "create table public.noise as select generate_series(1, 5000) n")
        fill(made)
        made.maia("backup")
        sql(made, "shop", 'update "Till"."Sale" set what = \'green\'; delete from public.customer where id = 2')
        client(made).put_object(BUCKET, "note", io.BytesIO(b"third"), 5)
        yield made


def client(made: Appliance) -> Any:
    return Store(made.stack.plan, made.site).objects()


def newest(made: Appliance) -> str:
    return str(json.loads(made.maia("backups", "list", "--json").stdout)[-1]["id"])


def databases(made: Appliance) -> set[str]:
    return {name for (name,) in sql(made, "postgres", "select datname from pg_database where not datistemplate")}


def left(made: Appliance) -> list[str]:
    """What only a restore in progress has."""
    volumes = [str(each.name) for each in docker.from_env().volumes.list(filters={"name": f"maia-{made.name}-aside"})]
    dumps: Any = docker.from_env().containers.get(f"maia-{made.name}-backup").exec_run(["ls", "/data/aside"])
    return volumes + sorted(databases(made) & {"maia_restoring"}) + ([] if dumps.exit_code else ["dumps"])


def versions(made: Appliance, bucket: str) -> dict[tuple[str, str], str]:
    """What every version of every object of a bucket holds, as a hash; empty for a deletion."""
    store, found = client(made), {}
    for each in store.list_objects(bucket, include_version=True):
        key = (str(each.object_name), str(each.version_id))
        found[key] = ""
        if not each.is_delete_marker:
            with store.get_object(bucket, key[0], version_id=key[1]) as answer:
                found[key] = hashlib.sha256(answer.read()).hexdigest()
    return found


def test_a_database_comes_back_beside_the_live_one(third: Appliance) -> None:
    said = third.maia("restore", "--database", "shop").stdout
    side = f"shop_{newest(third).lower()}"
    assert f"restored: shop of {newest(third)} as the database {side}" in said
    assert "compared: 502 rows in 2 tables are what was in the point" in said
    assert sql(third, side, 'select what, count(*) from "Till"."Sale" group by 1') == [("red", 500)]
    assert sql(third, side, "select name from public.names order by 1") == [("Ada",), ("Grace",)]
    assert sql(third, side, "select count from public.counted") == [(2,)]
    assert sql(third, "shop", 'select what, count(*) from "Till"."Sale" group by 1') == [("green", 500)]
    assert sql(third, "postgres", f"select has_database_privilege('public', '{side}', 'connect')") == [(False,)]
    assert left(third) == []


def test_a_table_comes_back_alone_in_a_database_of_its_shape(third: Appliance) -> None:
    said = third.maia("restore", "--database", "shop", "--table", "Till.Sale", "--as", "Sale's").stdout
    assert "restored: the table Till.Sale of shop" in said
    assert "compared: 500 rows in 1 tables" in said
    assert sql(third, "Sale's", 'select count(*) from "Till"."Sale" where what = \'red\'') == [(500,)]
    assert sql(third, "Sale's", "select count(*) from public.customer") == [(0,)]


def test_a_moment_between_points_comes_back_too(third: Appliance) -> None:
    sql(third, "postgres", "create table public.moments as select 1 n")
    moment = datetime.now(UTC).isoformat()
    sql(third, "postgres", "drop table public.moments")
    third.maia("restore", "--time", moment, "--database", "postgres", "--as", "before")
    assert sql(third, "before", "select n from public.moments") == [(1,)]
    unknown = third.maia("restore", "--time", moment, "--database", "shp", check=False)
    assert "no database 'shp' in the point; did you mean 'shop'?" in unknown.stderr


def test_a_bucket_comes_back_beside_with_all_its_versions(third: Appliance) -> None:
    live = versions(third, BUCKET)
    said = third.maia("restore", "--bucket", BUCKET).stdout
    side = f"{BUCKET}-{newest(third).lower()}"
    assert f"as the bucket {side}" in said
    assert "shows:    1 objects, 4 versions of them" in said
    found = versions(third, side)
    assert len(found) == 4
    assert found.items() < live.items(), "all but the version that was written since"
    assert versions(third, BUCKET) == live
    client(third).put_object(side, "more", io.BytesIO(b"x"), 1)
    assert len(versions(third, side)) == 5, "it is a bucket like any other"
    third.maia("restart", "minio")
    assert len(versions(third, side)) == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--database", "shp"), "no database 'shp' in the point (did you mean 'shop'?)"),
        (
            ("--database", "shop", "--table", "Till.Sail"),
            "no table 'Till.Sail' in the point (did you mean 'Till.Sale'?)",
        ),
        (("--database", "shop", "--as", "other"), "there is a database 'other' already"),
        (("--bucket", "albun"), "no bucket 'albun' in the point; did you mean 'album'?"),
        (("--bucket", BUCKET, "--as", BUCKET), f"there is a bucket '{BUCKET}' already"),
        (("--bucket", BUCKET, "--as", "A"), "'A' is no name of a bucket"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(third: Appliance, words: tuple[str, ...], told: str) -> None:
    before = databases(third)
    done = third.maia("restore", *words, check=False)
    assert done.returncode == 1
    assert told in done.stderr.splitlines()[-1]
    assert databases(third) == before


def test_one_that_was_killed_is_done_again(third: Appliance) -> None:
    for phrase in ("database: postgres: playing the WAL", "database: filling"):
        with third.start("restore", "--database", "shop", "--as", "again") as running:
            assert running.stdout
            next(line for line in running.stdout if phrase in line)
            kill_all(running)
    third.maia("restore", "--database", "shop", "--as", "again2")
    assert sql(third, "again2", 'select count(*) from "Till"."Sale" where what = \'red\'') == [(500,)]
    assert left(third) == []
