"""A source of Postgres 15, as most projects are: planned, copied while somebody writes, followed, compared."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from app.migrate import plan, source
from app.migrate.scope import Selection
from infra.migrate import connect
from tests import former
from tests.postgres import Server
from tests.supabase.following import once, slot_names, sync, turn, writing
from tests.supabase.moving import copier, same_rows
from tests.supabase.project import Project, project
from tests.system.mutations import until

TARGET = "older"

pytestmark = pytest.mark.long  # the server is of another Debian, and made first


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Without vectors, which its Debian has in a version that knows half of our kinds."""
    image = former.server(docker.from_env())
    with project(tmp_path_factory.mktemp("older"), "maia-test-older", vectors="", image=image) as running:
        yield running


@pytest.fixture(scope="module")
def copied(older: Project, appliance: Server, image: str) -> Iterator[str]:
    """Copied while somebody writes, and followed."""
    with connect(appliance.socket) as target:
        planned = plan.make(source.read(older.file), target, Selection(), None)
    assert planned.refusals == ()
    appliance.create(TARGET, template="bare")
    with writing(older) as done:
        copier(older, appliance, TARGET, image).run()
        until(lambda: done() > 20, "some was written")
        once(sync(older, appliance, TARGET))
    yield TARGET
    appliance.drop(TARGET)


def test_another_view_is_found_though_each_server_writes_views_down_its_own_way(
    older: Project, appliance: Server, copied: str
) -> None:
    with appliance.connect(copied) as link:
        (kept,) = link.execute("select pg_get_viewdef('public.nicks'::regclass)").fetchone() or ("",)
        link.execute(f"create or replace view public.nicks as {str(kept).rstrip(';')} offset 1".encode())
    result = sync(older, appliance, copied).verify()
    assert [(each.name, each.what) for each in result.unexplained] == [("public.nicks", "another")]
    with appliance.connect(copied) as link:
        link.execute(f"create or replace view public.nicks as {kept}".encode())


def test_every_row_comes_over_and_is_found_the_same(older: Project, appliance: Server, copied: str) -> None:
    with older.platform() as link:
        assert link.info.server_version // 10000 == 15
    found = sync(older, appliance, copied)
    once(found)
    assert found.verify().same
    assert same_rows(older, appliance, copied) == []


def test_it_is_cut_over_and_taken_back_with_what_was_written(older: Project, appliance: Server, copied: str) -> None:
    with older.platform() as link:
        link.execute("grant set on parameter session_replication_role to postgres")
        link.execute("grant update on all sequences in schema auth to postgres")
    steps = turn(sync(older, appliance, copied))
    with writing(older) as done:
        until(lambda: done() > 10, "some was written")
        assert steps.cutover().state == "serving"
    with appliance.connect(copied) as link:
        link.execute("update public.worn set b = 'served here' where id = 3; insert into public.user_s default values")
    assert steps.rollback().state == "returned"
    assert same_rows(older, appliance, copied) == []
    assert slot_names(older) == []
    with older.owner() as link:
        assert link.execute("select b from public.worn where id = 3").fetchone() == ("served here",)
