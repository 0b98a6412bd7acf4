"""Row security: who asks is known in every dialect, and nobody reaches what is another's."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from app.schema import files
from tests import tenants
from tests.persons import ADA, BEN, EVE, Link, acting, token

"""The same, to be changed for good."""
SEEN = {"community_commons_posts", "community_commons_comments"}
"""Tables whose rows are somebody's and are yet read by everybody who signed in."""


# Who asks


def test_every_dialect_says_who_asks(link: Link) -> None:
    with acting(link, "authenticated", token(ADA, email="ada@example.org")):
        query = """select auth.uid(), auth.role(), auth.email(), auth.jwt() ->> 'sub', extensions.current_user_id(),
            current_setting('request.jwt.claims', true)::json ->> 'sub'"""
        assert link.execute(query).fetchone() == (ADA, "authenticated", "ada@example.org", str(ADA), ADA, str(ADA))
    with acting(link, "authenticated", token(BEN), "request.jwt.claim.sub"):
        assert link.execute("select auth.uid()").fetchone() == (BEN,)
    with acting(link, "anon"):
        assert link.execute("select auth.uid(), auth.role(), auth.jwt()").fetchone() == (None, None, {})
        link.execute("set local app.current_user_id = '00000000-0000-0000-0000-000000000ada'")
        assert link.execute("select auth.uid(), extensions.current_user_id()").fetchone() == (None, ADA)


def test_policies_written_for_supabase_run_unchanged(link: Link) -> None:
    for statement in (
        "create table public.notes (id int, user_id uuid, owner text)",
        "alter table public.notes enable row level security",
        "grant all on public.notes to authenticated",
        "set local search_path = public, extensions",
    ):
        link.execute(statement.encode())
    link.execute("insert into public.notes values (1, %s, %s)", [ADA, str(ADA)])
    for text in (
        "auth.uid() = user_id",
        "auth.role() = 'authenticated' and (auth.jwt() ->> 'sub') = owner",
        "owner = current_setting('request.jwt.claims', true)::json ->> 'sub'",
        "user_id = current_user_id()",
    ):
        link.execute(f"create policy theirs on public.notes using ({text})".encode())
        for person, rows in ((ADA, 1), (BEN, 0)):
            with acting(link, "authenticated", token(person)):
                assert link.execute("select count(*) from public.notes").fetchone() == (rows,), text
        link.execute("drop policy theirs on public.notes")


# Two tenants


def _where(key: dict[str, Any]) -> sql.Composed:
    return sql.SQL(" and ").join(sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in key.items())


def _named(statement: str, table: str, key: dict[str, Any]) -> sql.Composed:
    return sql.SQL(statement).format(t=sql.Identifier("maia", table), k=_where(key))


def _tables() -> list[str]:
    return sorted({table for found in files.domains().values() for table in found} - set(tenants.FILLED))


def attempt(link: Link, query: sql.Composed, values: list[Any] | None = None) -> int:
    """How many rows it reached; none where it was not allowed."""
    try:
        with link.transaction():
            return link.execute(query, values).rowcount
    except InsufficientPrivilege:
        return 0


@pytest.mark.parametrize("table", _tables())
def test_nobody_reaches_the_rows_of_another_nor_changes_what_is_everybodys(
    people: tenants.Catalogue, table: str
) -> None:
    owned = people.owned(table)
    owner = ADA if owned else tenants.NOBODY
    link, row, key = people.link, people.rows[table, owner], people.key(table, owner)
    given = {c.name: row[c.name] for c in people.columns[table] if not c.generated}
    given = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in given.items()}
    for role, claims in (("authenticated", token(BEN)), ("authenticated", None), ("anon", None), ("anon", token(ADA))):
        with acting(link, role, claims):
            if owned and (table not in SEEN or role == "anon"):
                assert attempt(link, _named("select from {t} where {k}", table, key)) == 0
            assert attempt(link, _named("delete from {t} where {k}", table, key)) == 0
            for column in given:
                change = sql.SQL("update {} set {} = {} where {}").format(
                    sql.Identifier("maia", table), sql.Identifier(column), sql.Identifier(column), _where(key)
                )
                assert attempt(link, change) == 0, column
            fresh = given | ({"id": uuid.uuid4()} if "id" in given and table != "users" else {})
            with pytest.raises(InsufficientPrivilege), link.transaction():
                link.execute(tenants.insertion(table, fresh), list(fresh.values()))
            with suppress(InsufficientPrivilege, psycopg.errors.IntegrityError), link.transaction():
                link.execute(_named("delete from {t}", table, key))  # without a condition no policy of reading helps
            link.execute("reset role")
            assert link.execute(_named("select from {t} where {k}", table, key)).rowcount == 1


def test_everybody_reaches_what_is_their_own(people: tenants.Catalogue) -> None:
    link = people.link
    link.execute("select 1")
    own = {t for (t,) in link.execute("select distinct tablename from pg_policies where policyname = 'own_select'")}
    assert len(own) > 100
    with acting(link, "authenticated", token(ADA)):
        missed = [
            table for table in sorted(own - set(tenants.FILLED))
            if attempt(link, _named("select from {t} where {k}", table, people.key(table, ADA))) != 1
        ]  # fmt: skip
    assert missed == []


CLAIMS = st.fixed_dictionaries(
    {"sub": st.sampled_from([str(BEN), str(BEN).upper(), str(EVE)])},
    optional={
        "role": st.sampled_from(["authenticated", "service_role", "postgres", "anon"]),
        "email": st.just("ada@example.org"),
        "user_id": st.just(str(ADA)),
        "app_metadata": st.just({"sub": str(ADA), "roles": ["moderator", "administrator"]}),
    },
)
CONDITIONS = st.sampled_from(["true", "{k}", "true or {k}", "ctid is not null", "not ({k})"])
VERBS = {
    "select": "select * from {t} where ",
    "update": "update {t} set {c} = {c} where ",
    "delete": "delete from {t} where ",
}


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_asked_nothing_of_another_is_read_or_changed(
    people: tenants.Catalogue, data: st.DataObject
) -> None:
    owned = [table for table in _tables() if people.owned(table)]
    table = data.draw(st.sampled_from(owned))
    verb, condition = data.draw(st.sampled_from(sorted(VERBS))), data.draw(CONDITIONS)
    claims, dialect = data.draw(CLAIMS), data.draw(st.sampled_from(["request.jwt.claims", "request.jwt.claim.sub"]))
    link, key = people.link, people.key(table, ADA)
    column = data.draw(st.sampled_from([c.name for c in people.columns[table] if not c.generated]))
    statement = sql.SQL(VERBS[verb] + condition).format(
        t=sql.Identifier("maia", table), k=_where(key), c=sql.Identifier(column)
    )
    with acting(link, "authenticated", claims, dialect):
        try:
            with link.transaction():
                cursor = link.execute(statement)
                rows = cursor.fetchall() if verb == "select" else []
        except psycopg.Error as error:
            assert isinstance(error, InsufficientPrivilege | psycopg.errors.IntegrityError), error  # noqa: PT017
            rows = []
        link.execute("reset role")
        kept = link.execute(_named("select * from {t} where {k}", table, key)).fetchone()
    names = [c.name for c in people.columns[table]]
    assert kept == tuple(people.rows[table, ADA].values())
    if table not in SEEN:
        assert not [row for row in rows if all(dict(zip(names, row))[name] == value for name, value in key.items())]


# Plans


def test_policies_filter_by_an_index_and_ask_once_who_it_is(people: tenants.Catalogue) -> None:
    link = people.link
    simple = [
        (table, column) for table, column in link.execute(
            r"""select tablename, substring(qual from '^\((\w+) = \( SELECT auth\.uid\(\) AS uid\)\)$') from pg_policies
            where schemaname = 'maia' and cmd = 'SELECT' and policyname = 'own_select'"""
        ) if column
    ]  # fmt: skip
    assert len(simple) > 100
    slow = []
    with acting(link, "authenticated", token(ADA)):
        link.execute("set local enable_seqscan = off")
        for table, column in simple:
            query = sql.SQL("explain (costs off) select * from {}").format(sql.Identifier("maia", table))
            plan = "\n".join(line for (line,) in link.execute(query))
            if f"Cond: ({column} = (InitPlan 1).col1)" not in plan or "InitPlan 2" in plan:
                slow.append(f"{table}: {plan}")
    assert slow == []
