"""Recovery points: when one is due, what a manifest holds, and what a stack beside another may not take from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.backup import manifest, references, schedule
from app.backup.command import Failed, run
from app.backup.digest import Table
from app.backup.manifest import Database, Found, Manifest, Objects, Postgres
from app.backup.places import Reference
from app.backup.wal import NAME
from infra import credentials
from infra.errors import MaiaError
from infra.plan import Plan
from infra.recovery import Archive, refuse_unfinished
from infra.render import render
from infra.site import Site
from infra.stack import Stack

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Planned = Callable[..., Plan]


def ago(**back: float) -> float:
    return (NOON - timedelta(**back)).timestamp()


@pytest.mark.parametrize(
    ("at", "succeeded", "tried", "expected"),
    [
        pytest.param("02:30", None, None, True, id="none was ever made"),
        pytest.param("02:30", ago(hours=9), ago(hours=9), False, id="today's is made"),
        pytest.param("02:30", ago(hours=10), ago(hours=10), True, id="today's is not"),
        pytest.param("13:00", ago(hours=22), ago(hours=22), False, id="today's time has not come"),
        pytest.param(
            "13:00", ago(hours=24), ago(hours=24), True, id="yesterday's was missed, as by a machine that was off"
        ),
        pytest.param("02:30", ago(days=1), ago(minutes=5), False, id="one has just failed"),
        pytest.param("02:30", ago(days=1), ago(minutes=16), True, id="one has failed a while ago"),
        pytest.param("02:30", ago(days=-400), None, True, id="the clock was set back"),
        pytest.param("", None, None, False, id="none is wanted"),
    ],
)
def test_a_point_is_due_once_a_day_and_after_a_failure(
    at: str, succeeded: float | None, tried: float | None, *, expected: bool
) -> None:
    assert schedule.due(at, NOON, succeeded, tried) is expected


def made() -> Manifest:
    return Manifest(
        id="20260301T120000Z",
        stack="local",
        moment=NOON.isoformat(),
        seconds=1.5,
        release="0.1.0",
        plan="p",
        images={"postgres": "sha256:x"},
        postgres=Postgres(
            label="l",
            kind="full",
            made=NOON.isoformat(),
            restore_point="20260301T120000Z",
            lsn="0/1",
            timeline=1,
            cluster="17 a",
            next_transaction=7,
            fenced=True,
            size=10,
            added=4,
            databases={"a": Database(tables={"s.t": Table(rows=1, digest="9")}, sequences={"s.q": 3})},
        ),
        objects=Objects(snapshot="s", tree="t", files=1, bytes=5, added=2),
        files={"plan.json": "h"},
    )


def test_a_manifest_is_read_as_it_was_written() -> None:
    point = made()
    assert Manifest.parse(json.dumps(point.data())) == point
    assert (point.size, point.added) == (15, 6)


def test_points_are_in_order_of_their_wal_and_those_of_another_cluster_by_the_clock() -> None:
    def point(name: str, cluster: str, lsn: str, hour: int) -> Manifest:
        postgres = dataclasses.replace(made().postgres, cluster=cluster, lsn=lsn)
        return dataclasses.replace(made(), id=name, moment=NOON.replace(hour=hour).isoformat(), postgres=postgres)

    former = [point("1", "15 a", "0/9", 4), point("2", "15 a", "1/0", 3)]  # the clock was set back between them
    later = [point("3", "17 b", "0/1", 5), point("4", "17 b", "0/2", 6)]
    assert [each.id for each in manifest.ordered([*later[::-1], *former[::-1]])] == ["1", "2", "3", "4"]


def test_a_manifest_of_a_later_release_is_refused() -> None:
    data = made().data() | {"version": manifest.VERSION + 1}
    with pytest.raises(Failed, match="reads up to"):
        Manifest.parse(json.dumps(data))


def test_a_failed_tool_is_told_by_its_last_words() -> None:
    with pytest.raises(Failed, match=r"^sh -c: it is broken$"):
        run(("sh", "-c", "echo it is broken >&2; exit 3"))
    assert run(("sh", "-c", "exit 3"), codes=(0, 3)) == ""
    with pytest.raises(Failed, match=r"^sh -c: it tries again$"):
        run(("sh", "-c", "echo it tries again >&2; exec sleep 60"), patience=0.2)


@pytest.mark.parametrize(
    ("name", "is_wal"),
    [
        ("0000000100000000000000AB", True),
        ("0000000100000000000000AB.partial", True),
        ("0000000100000000000000AB.00000028.backup", True),
        ("00000002.history", True),
        ("0000000100000000000000AB.part", False),
        ("lost+found", False),
    ],
)
def test_only_what_postgres_archives_is_shipped(name: str, *, is_wal: bool) -> None:
    assert bool(NAME.fullmatch(name)) is is_wal


def test_keys_of_the_archives_follow_from_the_recovery_key_and_tell_nothing_of_it() -> None:
    key = credentials.generate()
    derived = [credentials.derived(key, purpose) for purpose in ("pgbackrest", "restic")]
    assert derived == [credentials.derived(key, purpose) for purpose in ("pgbackrest", "restic")]
    assert len({key, *derived}) == 3
    assert all(len(each) == 64 for each in derived)


def test_only_the_custodian_sees_every_secret(planned: Planned) -> None:
    plan = planned()
    part = plan.container("backup")
    secrets = {name: credentials.generate() for name in plan.secrets} | {"ca-key": "the key of the CA"}
    file = next(file for file in part.files if file.path == "/run/secrets/secrets.json")
    assert json.loads(render(file, plan, part, secrets)) == secrets
    assert [each.part for each in plan.containers if each.custodian] == ["backup"]


def test_a_disabled_backup_archives_no_wal(planned: Planned) -> None:
    def setting(plan: Plan) -> str:
        postgres = plan.container("postgres")
        text = render(next(file for file in postgres.files if file.path.endswith("postgresql.conf")), plan, postgres)
        return next(line for line in text.splitlines() if line.startswith("archive_command"))

    assert "/var/spool/pgbackrest" in setting(planned())
    assert setting(planned({"parts": {"backup": {"enabled": False}}})) == "archive_command = '/bin/true'"


def test_what_the_backup_part_sees_of_others_it_cannot_change(planned: Planned) -> None:
    part = planned().container("backup")
    assert {mount.path: mount.writable for mount in part.mounts if mount.part != "backup"} == {
        "/var/lib/postgresql": False,
        "/var/spool/pgbackrest": True,
        "/objects": False,
    }
    without = planned({"parts": {"minio": {"enabled": False}, "s3": {"enabled": False}}}).container("backup")
    assert "/objects" not in {mount.path for mount in without.mounts}


def test_an_archive_that_is_none_or_anothers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaiaError, match="holds no recovery points"):
        Archive(tmp_path, "key").check("701:701")
    (tmp_path / "restic").mkdir()
    (tmp_path / "restic" / "config").touch()
    with pytest.raises(MaiaError, match="chown -R 4242:4242"):
        Archive(tmp_path, "key").check("4242:4242")


def test_after_a_restore_that_was_cut_short_nothing_starts(tmp_path: Path) -> None:
    stack = Stack("local", Site(tmp_path))
    refuse_unfinished(stack)
    mark = stack.site.unfinished("local")
    mark.parent.mkdir()
    mark.write_text("20260301T120000Z\n")
    with pytest.raises(MaiaError, match="maia restore 20260301T120000Z --stack local"):
        refuse_unfinished(stack)


FOUND = Found(database="shop", bucket="album", named=2)


def test_a_row_that_names_an_object_which_the_point_lacks_is_told() -> None:
    assert references.wrong([FOUND]) == ""
    lacking = dataclasses.replace(FOUND, absent=1, absent_keys=["a/b"])
    unknown = dataclasses.replace(FOUND, error="there is no database 'shop'")
    told = references.wrong([FOUND, lacking, unknown])
    assert told == "album lacks 1 that shop names, as 'a/b'; album, named by shop: there is no database 'shop'"


def test_the_key_of_an_object_is_the_folder_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    below = ("a/xl.meta", "b c/ü/xl.meta", "b c/ü/0f3e/part.1", "folder__XLDIR__/xl.meta", "d/e/xl.meta")
    paths = [f"/objects/album/{path}" for path in below]
    monkeypatch.setattr("app.backup.vault.files", lambda snapshot, path: iter(paths))
    asked = Reference(database="shop", bucket="album", query="q")
    found = references.compare(asked, {"a", "b c/ü", "folder/", "gone"}, made().objects)
    assert (found.named, found.absent, found.absent_keys) == (4, 1, ["gone"])
    assert (found.unnamed, found.unnamed_keys) == (1, ["d/e"])
    assert references.compare(asked, set(), None).error == "the point holds no objects"
    assert references.compare(asked, "no such table", made().objects).error == "no such table"


def test_what_was_found_of_references_is_in_the_manifest() -> None:
    point = dataclasses.replace(made(), references=(FOUND,))
    assert Manifest.parse(json.dumps(point.data())) == point
    former = made().data() | {"version": 1}
    del former["references"]
    assert Manifest.parse(json.dumps(former)).references == ()
