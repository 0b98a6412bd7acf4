"""What came over, looked at by other means than the migration's own."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from app.migrate.journal import Told
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from tests.postgres import Server
from tests.supabase import compare
from tests.supabase.moving import became, copier, same_rows
from tests.supabase.project import Project


def test_every_row_comes_over_bit_by_bit(supabase: Project, appliance: Server, moved: list[Told]) -> None:
    assert same_rows(supabase, appliance, "maia") == []


def test_every_definition_comes_over_but_for_what_is_named(
    supabase: Project, appliance: Server, moved: list[Told]
) -> None:
    with supabase.platform() as link:
        there = compare.shape(link)
    with appliance.connect("maia") as link:
        here = compare.shape(link)
    gone = ("vault", "cron", "realtime", "supabase_migrations", "net", "supabase_functions", "extensions", "graphql")
    stays = ("closed", "secret_names", *(f"'{name}'" for name in gone), *(f"{name}." for name in ("vault", "cron")),
             "realtime.", "supabase_migrations.")  # fmt: skip
    named = {"columns": 1, "constraints": 1, "indexes": 2, "triggers": 1, "functions": 4}
    for kind in there:
        lost = [row for row in there[kind] - here[kind] if not any(word in row for word in stays)]
        assert len(lost) <= named.get(kind, 0), (kind, lost)


def test_nothing_is_dropped_without_a_word(moved: list[Told]) -> None:
    assert [each for each in moved if not each.outcome] == []
    assert [each for each in moved if each.outcome != "moved" and not each.why] == []
    assert became(moved, "fk constraint", "public.strays strays_parent_fkey")[0] == "changed"
    assert "(parent)=(77) is not present" in became(moved, "fk constraint", "public.strays strays_parent_fkey")[1]
    assert became(moved, "index", "public.doubled_id_key")[0] == "left"
    assert "(id)=(2) is duplicated" in became(moved, "index", "public.doubled_id_key")[1]
    assert became(moved, "index", "public.checked_plain") == ("left", "function shorten(text) does not exist")
    assert became(moved, "table", "public.hooks")[0] == "changed"
    assert became(moved, "trigger", "public.trapped hook")[0] == "left"
    assert became(moved, "publication", "supabase_realtime")[0] == "left"


def test_what_was_moved_works_and_belongs_to_nobody_who_logs_in(appliance: Server, moved: list[Told]) -> None:
    with appliance.connect("maia") as link:
        owners = link.execute(
            "select distinct relowner::regrole::text from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert owners == [("maia_project",)]
        assert link.execute(
            "select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = 'maia_project'"
        ).fetchall() == [(False,) * 3]
        user = link.execute("select id, email from auth.users order by id limit 1").fetchone()
        assert user
        link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(user[0])})])
        link.execute("set local role authenticated")
        assert link.execute("select id from public.profiles").fetchall() == [(user[0],)]
        link.execute("reset role")
        link.execute("insert into auth.users (id, is_sso_user, is_anonymous) values (gen_random_uuid(), false, true)")
        assert link.execute("select count(*) from public.profiles").fetchone() == (401,), "the trigger works again"
        assert link.execute(
            "select count(*) from public.match_memories((select large from memories limit 1))"
        ).fetchone() == (5,)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            link.execute("insert into public.strays values (9, 99)")


def test_a_second_copy_has_nothing_to_do_and_another_source_is_refused(
    supabase: Project, appliance: Server, moved: list[Told], image: str, tmp_path: Path
) -> None:
    assert copier(supabase, appliance, "maia", image).run() == moved
    other = supabase.describe(tmp_path / "source", dbname="postgres")
    with pytest.raises(Refused, match="was begun from"):
        copier(supabase, appliance, "maia", image, described=other).run()
    with pytest.raises(Refused, match="other schemas or tables"):
        copier(supabase, appliance, "maia", image, chosen=Selection.of(["public"])).run()
