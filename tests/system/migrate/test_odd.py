"""Tables that cannot come over whole, and copies of a part."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from app.migrate import flow, journal
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from tests.postgres import Server
from tests.supabase import compare
from tests.supabase.moving import became, copier, same_rows
from tests.supabase.project import Project


def test_a_table_that_is_dropped_during_the_copy_is_named_and_the_others_come_over(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    with supabase.owner() as link:
        link.execute("create table public.dropped (id int primary key); insert into public.dropped values (1)")

        def say(text: str) -> None:
            if "rows/s" in text:
                link.execute("drop table if exists public.dropped")

        found = copier(supabase, appliance, fresh, image, say, jobs=1).run()
    outcome, why = became(found, "rows", "public.dropped")
    assert outcome == "left"
    assert "while it was copied" in why
    assert same_rows(supabase, appliance, fresh) == []


def test_bytes_that_are_no_utf8_are_named_by_table_and_key(
    supabase: Project, appliance: Server, fresh: str, image: str, tmp_path: Path
) -> None:
    with supabase.owner() as link:
        link.execute("create database latin encoding 'SQL_ASCII' template template0 locale 'C'")
    described = supabase.describe(tmp_path / "source", dbname="latin")
    try:
        with psycopg.connect(described.read_text(), autocommit=True) as link:
            link.execute(
                "create table broken (id int primary key, said bytea); create table whole (id int primary key)"
            )
            link.execute(
                "insert into broken select n, 'fine' from generate_series(1, 20) n; insert into whole values (1)"
            )
            link.execute("alter table broken alter said type text using convert_from(said, 'SQL_ASCII')")
            link.execute(rb"update broken set said = E'caf\xe9' where id = 7")
        found = copier(supabase, appliance, fresh, image, described=described).run()
    finally:
        with supabase.platform("postgres") as link:
            link.execute("drop database latin with (force)")
    outcome, why = became(found, "rows", "public.broken")
    assert outcome == "left"
    assert "invalid byte sequence" in why
    assert "id = 7" in why
    with appliance.connect(fresh) as link:
        assert link.execute("select (select count(*) from broken), (select count(*) from whole)").fetchone() == (0, 1)


def test_tables_come_in_many_parts_and_one_that_fails_is_left_empty(
    supabase: Project, appliance: Server, fresh: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "PART", 1 << 14)
    with (
        supabase.platform() as link
    ):  # a row that the check of the target refuses, as its function says otherwise there
        link.execute("create table public.parted (id int primary key, note text, constraint short check (note <> ''))")
        link.execute("insert into public.parted select n, repeat('x', 500) from generate_series(1, 2000) n")
        link.execute("alter table public.parted owner to postgres; analyze public.parted")
        link.execute(
            "alter table public.parted drop constraint short; update public.parted set note = '' where id = 1500"
        )
        link.execute("alter table public.parted add constraint short check (note <> '') not valid")
        link.execute("update pg_constraint set convalidated = true where conname = 'short'")
    try:
        found = copier(supabase, appliance, fresh, image).run()
        assert same_rows(supabase, appliance, fresh) == ["public.parted"]
    finally:
        with supabase.platform() as link:
            link.execute("drop table public.parted")
    outcome, why = became(found, "rows", "public.parted")
    assert outcome == "left"
    assert "short" in why and "id = 1500" in why
    with appliance.connect(fresh) as link:
        assert link.execute("select count(*) from public.parted").fetchone() == (0,)
        parts = link.execute("select count(*), max(n) from (select count(*) n from maia_migrate.parts group by oid) p")
        assert (parts.fetchone() or (0, 0))[1] > 20


def test_a_part_of_it_comes_over_alone(supabase: Project, appliance: Server, fresh: str, image: str) -> None:
    chosen = Selection.of(["auth"], ["public.profiles", "public.kinds"])
    copier(supabase, appliance, fresh, image, chosen=chosen).run()
    with appliance.connect(fresh) as link:
        here = compare.rows(link)
    assert {name for name in here if name.startswith("public.")} == {"public.profiles", "public.kinds"}
    with supabase.platform() as link:
        there = compare.rows(link)
    assert all(there[name] == found for name, found in here.items())


def test_two_migrations_at_once_and_a_target_that_is_not_empty_are_refused(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    with appliance.connect(fresh) as link:
        link.execute("create table public.here (id int)")
        link.commit()
        with pytest.raises(Refused, match=r"is not empty: public\.here"):
            copier(supabase, appliance, fresh, image).run()
        link.execute("select pg_advisory_lock(%s)", [journal.LOCK])
        with pytest.raises(Refused, match="another migration is at work"):
            copier(supabase, appliance, fresh, image).run()
        assert link.execute("select to_regclass('maia_migrate.run')").fetchone() == (None,)
