"""Recovery points of a real stack: made, verified, and brought back where nothing was left."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from checks.store import Store
from infra.components import cache
from tests.conftest import Appliance, small

BUCKET = "album"
ROWS = 20_000
CREATE = f"""
create schema clinic;
create table clinic."Visit" (id bigserial primary key, person uuid default gen_random_uuid(), note jsonb, seen date);
insert into clinic."Visit" (note, seen)
    select jsonb_build_object('n', n), current_date from generate_series(1, {ROWS}) n;
create materialized view clinic.days as select seen as day, count(*) from clinic."Visit" group by 1;
"""


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack with data in Postgres, Redis and the object store, and a first point of it."""
    with small(tmp_path_factory.mktemp("backup") / "site") as made:
        furnish(made)
        yield made


def furnish(made: Appliance) -> None:
    """Bring it up with data of every kind, and make a point of that."""
    made.maia("up", "--skip-checks")
    sql(made, "postgres", CREATE)
    redis(made).set("session:1", "kept")
    fill(made)
    made.maia("backup")


def sql(made: Appliance, database: str, statement: str) -> list[Any]:
    socket = str(made.site.sockets(made.name) / "postgres")
    with psycopg.connect(host=socket, user="postgres", dbname=database, autocommit=True) as link:
        done = link.execute(statement.encode())
        return done.fetchall() if done.description else []


def redis(made: Appliance) -> Any:
    """Its Redis, as the administrator."""
    return cache.administer(
        {
            "socket": str(made.site.sockets(made.name) / "redis"),
            "admin": str(made.site.files(made.name) / "administrators" / "redis"),
        }
    )


def fill(made: Appliance) -> None:
    """A bucket with an object of two versions and one that was deleted."""
    objects = Store(made.stack.plan, made.site).objects()
    objects.make_bucket(BUCKET)
    objects.set_bucket_versioning(BUCKET, VersioningConfig(ENABLED))
    for name, text in (("note", b"first"), ("note", b"second" * 100_000), ("gone", b"deleted")):
        objects.put_object(BUCKET, name, io.BytesIO(text), len(text))
    objects.remove_object(BUCKET, "gone")


def objects(made: Appliance) -> dict[tuple[str, str], str]:
    """What every version of every object holds, as a hash; empty for a deletion."""
    store = Store(made.stack.plan, made.site).objects()
    found = {}
    for each in store.list_objects(BUCKET, include_version=True):
        key = (str(each.object_name), str(each.version_id))
        if each.is_delete_marker:
            found[key] = ""
        else:
            with store.get_object(BUCKET, key[0], version_id=key[1]) as answer:
                found[key] = hashlib.sha256(answer.read()).hexdigest()
    return found


def points(made: Appliance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(made.maia("backups", "list", "--json").stdout)
    return found


def visits(made: Appliance) -> int:
    return int(sql(made, "postgres", 'select count(*) from clinic."Visit"')[0][0])


def beside(third: Appliance, name: str) -> Appliance:
    """The stack of another name in the same site."""
    return Appliance(name, third.root, {})


def test_a_point_ties_everything_and_says_what_it_is(third: Appliance) -> None:
    manifest = json.loads(third.maia("backups", "show", "latest").stdout)
    tables = manifest["postgres"]["databases"]["postgres"]["tables"]
    assert tables["clinic.Visit"]["rows"] == ROWS
    assert tables["clinic.days"]["rows"] == 1
    assert manifest["postgres"]["fenced"]
    assert manifest["objects"]["files"] > 0
    assert {"dump.rdb", "plan.json", "secrets.json", "settings.json"} == set(manifest["files"])
    assert manifest["images"]["postgres"].startswith("sha256:")


def test_nothing_in_the_archive_can_be_read_without_the_key(third: Appliance) -> None:
    archive = third.site.archive(third.name)
    words = [third.secret("recovery").encode(), b"clinic", third.secret("operator").encode()]
    files = [path for path in archive.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert not [word for word in words if word in content], path


def test_a_second_point_adds_only_what_is_new(third: Appliance) -> None:
    third.maia("backup")
    first, second = points(third)[0], points(third)[-1]
    assert (first["kind"], second["kind"]) == ("full", "incr")
    assert second["added"] < first["added"] / 4


def test_every_acknowledged_write_before_the_cut_is_in_the_point(third: Appliance) -> None:
    """A client writes all the time; the manifest's count is exactly what it had been told is there."""
    sql(third, "postgres", "create table if not exists clinic.ticks (n int, at timestamptz default clock_timestamp())")
    script = "begin; insert into clinic.ticks select 1; commit;"
    socket = str(third.site.sockets(third.name) / "postgres")
    load = subprocess.Popen(
        [*_in(third, "postgres"), "pgbench", "-n", "-h", "/run/postgresql", "-U", "postgres", "-c", "2", "-T", "25",
         "-f", "/dev/stdin", "postgres"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert load.stdin
    load.stdin.write(script)
    load.stdin.close()
    _until(lambda: sql(third, "postgres", "select count(*) > 100 from clinic.ticks")[0][0])
    third.maia("backup")
    load.wait()
    manifest = json.loads(third.maia("backups", "show", "latest").stdout)
    assert manifest["postgres"]["fenced"], socket
    kept = manifest["postgres"]["databases"]["postgres"]["tables"]["clinic.ticks"]["rows"]
    before = sql(third, "postgres", f"select count(*) from clinic.ticks where at < '{manifest['moment']}'")[0][0]
    total = sql(third, "postgres", "select count(*) from clinic.ticks")[0][0]
    assert before <= kept + 4, "but for those that were not yet acknowledged"
    assert kept <= total


def test_rows_that_name_objects_are_compared_with_the_objects(third: Appliance) -> None:
    def found(told: str = "") -> tuple[int, list[dict[str, Any]]]:
        assert told in third.maia("backup").stdout
        code = third.maia("check", "-k", "backup-good", check=False).returncode
        return code, json.loads(third.maia("backups", "show", "latest").stdout)["references"]

    def ask(*queries: str) -> None:
        asked = [{"database": "postgres", "bucket": "pictures", "query": query} for query in queries]
        third.write({"backup": third.values["backup"] | {"references": asked}})
        third.maia("up", "--skip-checks")

    store = Store(third.stack.plan, third.site).objects()
    store.make_bucket("pictures")
    for key in ("note", "a b/ü", "unnamed/one"):
        store.put_object("pictures", key, io.BytesIO(b"x"), 1)
    sql(third, "postgres", "create table clinic.pictures as select unnest(array['note', 'a b/ü', null]) as key")
    function = "create or replace function clinic.named() returns setof text language sql as"
    sql(third, "postgres", f"{function} 'select key from clinic.pictures'")
    ask("select key from clinic.pictures", "select clinic.named()")
    code, (whole, same) = found()
    assert (code, whole["named"], whole["absent"], whole["error"]) == (0, 2, 0, "")
    assert (whole["unnamed"], whole["unnamed_keys"]) == (1, ["unnamed/one"])
    assert same == whole
    sql(third, "postgres", "insert into clinic.pictures values ('never/stored')")
    sql(third, "postgres", f"{function} 'delete from clinic.pictures returning key'")
    code, (lacking, refused) = found(
        "objects: pictures lacks 1 that postgres names, as 'never/stored'; pictures, named "
    )
    assert (code, lacking["absent"], lacking["absent_keys"]) == (1, 1, ["never/stored"])
    assert "read-only transaction" in refused["error"], "and the point is made none the less"
    assert sql(third, "postgres", "select count(*) from clinic.pictures") == [(4,)]
    ask()
    third.maia("backup")


def test_a_moment_between_two_writes_comes_back_in_a_stack_beside(third: Appliance) -> None:
    sql(third, "postgres", "create table clinic.moments (what text)")
    sql(third, "postgres", "insert into clinic.moments values ('before')")
    time.sleep(1.1)  # a second of its own is what is tested
    moment = datetime.now(UTC)
    time.sleep(1.1)
    sql(third, "postgres", "insert into clinic.moments values ('after')")
    look = beside(third, "look")
    try:
        third.maia("restore", "--time", moment.isoformat(), "--into", look.name)
        assert sql(look, "postgres", "select what from clinic.moments") == [("before",)]
        assert len(sql(third, "postgres", "select what from clinic.moments")) == 2, "the live stack is as it was"
        assert visits(look) == ROWS
    finally:
        look.maia("destroy", "--yes", look.name)


def test_a_lost_machine_comes_back_from_the_archive_and_the_key_alone(third: Appliance, tmp_path: Path) -> None:
    wanted = {name: third.secret(name) for name in ("operator", "recovery", "minio-root")}
    kept = objects(third)
    assert len(kept) == 4
    third.maia("backup")
    before = json.loads(third.maia("backups", "show", "latest").stdout)
    archive, key = tmp_path / "archive", tmp_path / "key"
    shutil.copytree(third.site.archive(third.name), archive)
    subprocess.run(["chown", "-R", "701:701", archive], check=True)
    key.write_text(third.secret("recovery"))
    third.maia("destroy", "--yes", third.name)
    shutil.rmtree(third.root)

    done = third.maia("restore", "--archive", str(archive), "--key", str(key))

    assert "every table is what the point's manifest says" in done.stdout
    assert f"restored: {before['id']}" in done.stdout
    assert visits(third) == ROWS
    assert redis(third).get("session:1") == "kept"
    assert objects(third) == kept
    third._secrets.clear()
    assert {name: third.secret(name) for name in wanted} == wanted
    assert third.maia("backups", "list").returncode == 0


def test_one_flipped_byte_is_found(third: Appliance) -> None:
    third.maia("backup")
    assert "every byte of the archive" in third.maia("backups", "verify").stdout
    archive = third.site.archive(third.name)
    for part in ("postgres/backup", "restic/data"):
        path = max(
            (each for each in (archive / part).rglob("*") if each.is_file()), key=lambda each: each.stat().st_size
        )
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        original, owner = path.read_bytes(), path.stat()
        path.chmod(0o600)
        path.write_bytes(content)
        done = third.maia("backups", "verify", check=False)
        assert done.returncode == 1, part
        assert "damaged" in done.stderr, part
        path.write_bytes(original)
        path.chmod(owner.st_mode & 0o777)
    assert "every byte of the archive" in third.maia("backups", "verify").stdout


def test_a_wrong_key_is_refused_before_anything_is_touched(third: Appliance, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("not-the-key-of-this-archive")
    archive = third.site.archive(third.name)
    done = third.maia("restore", "--archive", str(archive), "--key", str(key), "--into", "look", check=False)
    assert done.returncode == 1
    assert "wrong password" in done.stderr
    assert not beside(third, "look").leftovers()


def test_a_folder_without_points_is_refused(third: Appliance, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("x")
    done = third.maia("restore", "--archive", str(tmp_path), "--key", str(key), "--into", "look", check=False)
    assert done.returncode == 1
    assert "holds no recovery points" in done.stderr


def test_a_backup_that_was_killed_is_made_again(third: Appliance) -> None:
    count = len(points(third))
    with third.start("backup", "--kind", "full") as running:
        _hear(running, "postgres: ")
        docker.from_env().containers.get(f"maia-{third.name}-backup").restart(timeout=0)
    assert running.returncode != 0
    _until(lambda: third.maia("backup", check=False).returncode == 0)
    assert len(points(third)) == count + 1
    assert "every byte of the archive" in third.maia("backups", "verify").stdout


def _hear(running: subprocess.Popen[str], words: str) -> None:
    """Return once the verb has said so."""
    assert running.stdout
    for line in running.stdout:
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}")


def _in(made: Appliance, part: str) -> list[str]:
    return ["docker", "exec", "-i", f"maia-{made.name}-{part}"]


def _until(holds: Any, patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_restore_that_was_killed_keeps_the_stack_down_until_it_is_done_again(third: Appliance) -> None:
    third.maia("backup")
    sql(third, "postgres", "create table clinic.unwanted ()")
    third.maia("secrets", "rotate", "postgres-exporter-postgres")
    with third.start("restore") as running:
        _hear(running, "restore: postgres: files")
        running.kill()
    assert "was cut short" in third.maia("up", check=False).stderr
    third.maia("restore")
    assert visits(third) == ROWS
    assert sql(third, "postgres", "select to_regclass('clinic.unwanted')") == [(None,)]
    logins = "select count(*) from pg_roles where rolname like 'postgres\\_exporter\\_%' and rolcanlogin"
    assert sql(third, "postgres", logins) == [(1,)], "the one that was rotated away did not come back"
    third.maia("backup")
    assert points(third)[-1]["kind"] == "full", "the WAL takes another way now"
