"""`maia migrate` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.migrate.journal import Told
from infra import cli, signature
from infra.cli import common
from infra.place import HERE
from infra.plan import ENVELOPE
from infra.site import Site
from tests.postgres import Server
from tests.supabase.following import slot_names
from tests.supabase.project import Project


@pytest.fixture
def maia(
    appliance: Server, moved: list[Told], image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """The verb on a stack that is no more than this Postgres and a site folder."""
    part = SimpleNamespace(image_id=image, mounts=())
    plan = SimpleNamespace(has=lambda name: True, container=lambda name: part, database="maia", auth=None)
    stack = SimpleNamespace(
        name="moving", site=Site(tmp_path / "site"), plan=plan, postgres=appliance.socket, place=HERE
    )
    monkeypatch.setattr(common, "started", lambda args: stack)
    secrets = {signature.SECRET: "a secret of the stack's", ENVELOPE: "another one of the stack's"}
    monkeypatch.setattr(common, "engine", lambda stack, say: SimpleNamespace(secrets=lambda: secrets))
    return lambda *words: cli.main(["migrate", *words])


def test_the_plan_is_told_and_a_target_that_is_not_empty_is_refused(
    maia: Callable[..., int], supabase: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(supabase.file)
    assert maia("plan", "--source", file) == 1
    said = capsys.readouterr().out
    assert "refused:  target: is not empty" in said
    assert "public.broken_sql()" in said


def test_a_fault_is_one_line(maia: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert maia("plan", "--source", str(tmp_path / "absent")) == 1
    assert maia("plan", "--source", "x", "--table", "nameless") == 1
    lines = capsys.readouterr().err.splitlines()
    assert f"maia: {tmp_path}/absent: No such file or directory (name a file of one line)" in lines
    assert "maia: --table: 'nameless' is no table (name it as SCHEMA.NAME)" in lines


def test_what_was_moved_is_adopted_as_far_as_it_goes_and_taken_back(
    maia: Callable[..., int], appliance: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with appliance.connect("maia", autocommit=True) as link:
        query = "select count(*) from maia.users"
        before = link.execute(query).fetchone()
        assert maia("adopt", "--plan") == 1
        said = capsys.readouterr().out
        assert "refused:    public.users id is not of its kind: 60 rows" in said
        assert "would adopt: 400 rows" in said
        assert link.execute(query).fetchone() == before
        assert maia("adopt", "--table", "auth.users", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        people = link.execute("select count(*) from auth.users").fetchone()
        assert people == (found[0]["adopted"],) == link.execute(query).fetchone()
        assert maia("adopt", "--undo", "--table", "auth.users") == 0
        assert capsys.readouterr().out == f"removed: {found[0]['adopted']} rows\n"
        assert link.execute(query).fetchone() == before


def test_a_fault_of_an_adoption_is_one_line(maia: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert maia("adopt", "--changed") == 1
    assert maia("adopt", "--table", "nothing") == 1
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("maia: ")] == [
        "maia: --changed: goes with --undo (maia migrate adopt --undo --changed)",
        "maia: nothing: no map is of it (maia migrate adopt --plan names them)",
    ]


def test_the_source_is_followed_and_left_again(
    maia: Callable[..., int], supabase: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(supabase.file)
    assert maia("sync", "--once", "--source", file) == 0
    assert "follows:  following; the source serves" in capsys.readouterr().out
    assert maia("status", "--source", file) == 0
    said = capsys.readouterr().out
    assert "of WAL; the server does not bound it (max_slot_wal_keep_size)" in said
    assert "belongs to supabase_auth_admin" in said
    assert maia("cutover", "--source", file) == 1
    assert (
        "maia: migration: was not found the same since it is followed (maia migrate verify" in capsys.readouterr().err
    )
    assert maia("rollback", "--source", file) == 1
    assert "there is no way back" in capsys.readouterr().err
    assert maia("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["following"]["state"] == "following"
    assert maia("sync", "--stop", "--source", file) == 0
    assert slot_names(supabase) == []
    assert maia("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["following"] is None
