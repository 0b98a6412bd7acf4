"""Both sides compared: what differs is named, and the report is signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.migrate import shape, source, verify
from app.migrate.journal import Told
from app.migrate.refused import Refused
from app.migrate.verify import Result
from infra import signature
from infra.migrate import written
from tests.postgres import Server
from tests.supabase.project import PASSWORD, Project


@pytest.fixture
def verified(supabase: Project, appliance: Server, moved: list[Told]) -> Callable[[], Result]:
    """Compares, as often as it is called."""
    to = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname="maia")
    return lambda: verify.verify(source.read(supabase.file), to, lambda _: None)


def test_what_was_copied_is_found_the_same_and_what_was_not_is_explained(verified: Callable[[], Result]) -> None:
    found = verified()
    assert found.differing == []
    assert found.unexplained == []
    assert len(found.tables) > 130
    explained = {each.name: each.why for each in found.definitions}
    assert "is duplicated" in explained["public.doubled_id_key"]
    assert explained["public.hooks"].startswith("moved with a change")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update public.huge set body = 'x' where id = 3", ("public.huge", "(id) = (3)", "both", ("body",))),
        ("delete from public.kinds where id = 9", ("public.kinds", "(id) = (9)", "the source alone", ())),
        ("insert into public.worn (id) values (999)", ("public.worn", "(id) = (999)", "the target alone", ())),
        ("insert into public.logs values ('line 1', '2026-01-01')",
         ("public.logs", "a row with the hash", "the target alone", ())),
        ("update public.memories set tiny = null where id = 1", ("public.memories", "(id) = (1)", "both", ("tiny",))),
    ],
)  # fmt: skip
def test_a_row_that_is_another_is_named_with_its_columns_and_without_its_values(
    appliance: Server, verified: Callable[[], Result], change: str, told: tuple[Any, ...]
) -> None:
    table, name, where, columns = told
    with appliance.connect("maia") as link:
        link.execute(f"create table maia_migrate.kept as table {table}".encode())
    with appliance.connect("maia") as link:
        link.execute("set session_replication_role = replica")
        link.execute(change.encode())
    try:
        found = verified()
        assert [each.name for each in found.differing] == [table]
        assert len(found.differing[0].rows) == 1
        row = found.differing[0].rows[0]
        assert row.name.startswith(name)
        assert (row.where, row.columns) == (where, columns)
    finally:
        restore(appliance, table)


def restore(appliance: Server, table: str) -> None:
    """The rows as they were."""
    with appliance.connect("maia") as link:
        link.execute("set session_replication_role = replica")
        columns = link.execute(
            """select string_agg(quote_ident(attname), ', ') from pg_attribute
               where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = ''""",
            [table],
        ).fetchone()
        assert columns
        link.execute(f"delete from {table}".encode())
        names = columns[0]
        again = f"insert into {table} ({names}) overriding system value select {names} from maia_migrate.kept"
        link.execute(again.encode())
        link.execute("drop table maia_migrate.kept")


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ("drop policy dialect_three on public.profiles", "policy", "public.profiles dialect_three"),
        ("alter table public.profiles disable row level security", "row security", "public.profiles"),
        ("drop index public.memories_large", "index", "public.memories_large"),
        ("alter table public.slots alter room type bigint", "column", "public.slots"),
        ("alter table public.ring_b drop constraint ring_b_a_fkey", "constraint", "public.ring_b ring_b_a_fkey"),
        ("alter sequence public.numbers increment by 7", "sequence", "public.numbers"),
        ("alter table public.trapped enable trigger switched_off", "trigger", "public.trapped switched_off"),
        ("create or replace view public.people as select id, nick, ''::varchar(255) as email from profiles",
         "view", "public.people"),
    ],
)  # fmt: skip
def test_a_definition_that_is_another_is_named(
    appliance: Server, moved: list[Told], change: str, kind: str, name: str, supabase: Project
) -> None:
    with appliance.connect("maia") as link:
        link.execute("set search_path = pg_catalog")
        with source.read(supabase.file).connect() as there:
            there.execute("set search_path = pg_catalog")
            wanted = shape.read(there, ["public"])
        link.execute("set search_path = public")
        link.execute(change.encode())
        link.execute("set search_path = pg_catalog")
        found = shape.compare(wanted, shape.read(link, ["public"]), moved)
        link.rollback()
    assert [(each.kind, each.name) for each in found if not each.why] == [(kind, name)]


def test_the_report_is_signed_with_its_page_and_holds_no_value_of_a_row(
    verified: Callable[[], Result], tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    path = written(verified(), tmp_path, key)
    document = signature.verify(path, key.public_key())
    page = path.with_suffix(".html").read_bytes()
    assert document["page_sha256"] == hashlib.sha256(page).hexdigest()
    assert document["same"] is True
    assert document["counts"]["tables"] == document["counts"]["tables_same"]
    for value in (b"person1@example.org", b"note number", PASSWORD.encode(), b"of the source alone"):
        assert value not in page + path.read_bytes()


def test_what_is_not_copied_yet_is_not_verified(supabase: Project, appliance: Server, fresh: str) -> None:
    to = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname=fresh)
    with pytest.raises(Refused, match="is not copied yet"):
        verify.verify(source.read(supabase.file), to, lambda _: None)
