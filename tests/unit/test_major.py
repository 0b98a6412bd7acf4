"""Data of another Postgres: what is refused before anything is touched, and how segments change their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.backup import major as job
from infra import clusters, major
from infra.catalog.postgres import MAJOR
from infra.errors import MaiaError
from infra.images.recipe import load_all
from infra.releases import Image, Record
from infra.site import Site
from infra.stack import Stack

POSTGRES = Image(id="sha256:" + "b" * 64, folder="images/postgres-0", packages={"postgresql-15": "15.1-1"}, sources={})
RECORD = Record(
    release="0.0.9",
    tree="0123456789ab",
    when="2026-11-23T10:00:00+00:00",
    settings={},
    images={"postgres": POSTGRES},
    parts={"postgres": POSTGRES.id},
    cache=[],
)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stack's data, with a cluster of 15."""
    folder = tmp_path / "volume"
    (folder / "data" / "pg_wal").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("15\n")
    monkeypatch.setattr(major, "_folder", lambda stack: str(folder))
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack("local", Site(tmp_path / "site"))


def refused(stack: Stack, record: Record) -> str:
    with pytest.raises(MaiaError) as caught:
        major.refuse(stack, record)
    assert "; nothing was changed)" in str(caught.value)
    return str(caught.value)


def test_data_that_its_own_release_left_is_let_through(stack: Stack, volume: Path) -> None:
    major.refuse(stack, RECORD)
    assert major.behind(stack)
    assert major.left(stack, "15")
    assert not major.left(stack, "16")
    (volume / "data" / "PG_VERSION").write_text(f"{MAJOR}\n")
    major.refuse(stack, RECORD)
    assert not major.behind(stack)


def test_data_of_a_later_postgres_or_of_none_that_ran_is_refused(stack: Stack, volume: Path) -> None:
    other = replace(POSTGRES, packages={"postgresql-16": "16.1-1", "postgresql-common": "1"})
    assert f"of Postgres 15, this release has {MAJOR}, and release 0.0.9 ran 16 (" in refused(
        stack, replace(RECORD, images={"postgres": other})
    )
    assert "release 0.0.9 ran none (" in refused(stack, replace(RECORD, images={}))
    (volume / "data" / "PG_VERSION").write_text(f"{MAJOR + 1}\n")
    assert f"postgres: the data is of Postgres {MAJOR + 1}, this release has {MAJOR} (" in refused(stack, RECORD)


def test_without_room_for_the_data_once_more_nothing_begins(
    stack: Stack, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume / "data" / "pg_wal" / ("0" * 24)).write_bytes(bytes(2**20))
    small = clusters.size(str(volume))
    (volume / "data" / "table").write_bytes(bytes(2**20))
    assert 2**20 <= clusters.size(str(volume)) - small < 2**21, "WAL does not count, tables do"
    monkeypatch.setattr(major, "ROOM", 1e9)
    assert f"postgres: from 15 to {MAJOR} its data takes " in refused(stack, RECORD)


def test_a_former_cluster_stands_in_the_way_of_a_release_that_reads_another(stack: Stack, volume: Path) -> None:
    assert not major.owes(stack, RECORD)
    (volume / "data" / "waiting").mkdir()
    assert major.owes(stack, RECORD), "its segments wait to be put back"
    (volume / "data" / "waiting").rmdir()
    (volume / "data" / "PG_VERSION").write_text(f"{MAJOR}\n")
    assert major.owes(stack, RECORD)


def test_segments_change_their_place_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, aside = tmp_path / "spool", tmp_path / "cluster" / job.WAITING
    spool.mkdir()
    aside.parent.mkdir()
    monkeypatch.setattr(job, "SPOOL", spool)
    (spool / "1").write_text("first")
    (spool / "2").write_text("second")
    aside.mkdir()
    (aside / "2.part").write_text("sec")  # of a run that was killed
    job._move(spool, aside)
    assert {path.name: path.read_text() for path in aside.iterdir()} == {"1": "first", "2": "second"}
    assert not [*spool.iterdir()]
    job._move(aside, spool)
    assert {path.name for path in spool.iterdir()} == {"1", "2"}
    assert not aside.exists()
    job._move(aside, spool)


def test_a_new_cluster_is_made_as_the_image_of_postgres_makes_one() -> None:
    (start,) = (file.content for file in load_all()["postgres"].files if file.path.endswith("start-postgres"))
    assert start
    words = start.replace("\\\n", " ").partition("initdb ")[2].partition("\n")[0].split()
    assert [*job.INITDB[1:]] == [word for word in words if word not in ("--pgdata", '"$data.new"')]
