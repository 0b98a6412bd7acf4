"""`maia migrate` as a person types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.migrate.journal import Told
from infra import cli, signature
from infra.cli import common
from infra.place import HERE
from infra.site import Site
from tests.postgres import Server
from tests.supabase.project import Project


@pytest.fixture
def maia(
    appliance: Server, moved: list[Told], image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """The verb on a stack that is no more than this Postgres and a site folder."""
    part = SimpleNamespace(image_id=image, mounts=())
    plan = SimpleNamespace(has=lambda name: True, container=lambda name: part)
    stack = SimpleNamespace(
        name="moving", site=Site(tmp_path / "site"), plan=plan, postgres=appliance.socket, place=HERE
    )
    monkeypatch.setattr(common, "started", lambda args: stack)
    secrets = {signature.SECRET: "a secret of the stack's"}
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
