"""Tables of a part that not every stack has: made for that part alone, by nobody's hand but the owner's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from app.schema import catalogue, migrate, parts, snapshot
from app.schema.refused import Refused
from tests.postgres import DATABASE, Server

ACCOUNTS = "accounts"
"""A database with the tables of the part auth."""
ROLE = "a_part"
"""What a part's own role would be."""


@pytest.fixture(scope="module")
def accounts(postgres: Server) -> Iterator[str]:
    postgres.create(ACCOUNTS, template=DATABASE)
    assert migrate.migrate(partial(postgres.connect, ACCOUNTS), print, wanted=("auth",)) == ("auth",)
    with postgres.connect(ACCOUNTS, autocommit=True) as link:
        link.execute(f"create role {ROLE} nologin noinherit; grant maia_auth to {ROLE} with inherit true")
    yield ACCOUNTS
    with postgres.connect(autocommit=True) as link:
        link.execute(f"drop role {ROLE}")
    postgres.drop(ACCOUNTS)


def test_a_stack_without_the_part_has_no_such_table(postgres: Server) -> None:
    with postgres.connect(DATABASE) as link:
        assert link.execute("select to_regclass('auth.users')").fetchone() == (None,)
        assert parts.applied(link) == {}
        assert parts.pending(link, ()) == ()
        assert parts.pending(link, ("auth", "status")) == ("auth",)


def test_made_twice_nothing_changes_and_another_file_is_run_anew(postgres: Server, accounts: str) -> None:
    with postgres.connect(accounts) as link:
        before = snapshot.take(link)
        assert parts.applied(link) == parts.present(("auth",))
    assert migrate.migrate(partial(postgres.connect, accounts), print, wanted=("auth",)) == ()
    with postgres.connect(accounts, autocommit=True) as link:
        link.execute("update maia_meta.applied_parts set sha256 = %s", ["0" * 64])
    assert migrate.migrate(partial(postgres.connect, accounts), print, wanted=("auth",)) == ("auth",)
    with postgres.connect(accounts) as link:
        assert snapshot.take(link) == before


def test_the_rules_of_the_schema_hold_with_them(postgres: Server, accounts: str) -> None:
    with postgres.connect(accounts) as link:
        assert list(catalogue.findings(link)) == []
        loose = """select relname from pg_class where relnamespace = 'auth'::regnamespace and relkind in ('r', 'p')
            and not (relrowsecurity and relforcerowsecurity)"""
        assert link.execute(loose).fetchall() == []
        assert link.execute("select count(*) > 8 from pg_tables where schemaname = 'auth'").fetchone() == (True,)


@pytest.mark.parametrize("role", ["anon", "authenticated", "maia_auditor"])
def test_a_request_of_an_app_sees_no_account(postgres: Server, accounts: str, role: str) -> None:
    with postgres.connect(accounts) as link:
        link.execute("insert into auth.users (email) values ('ada@example.org')")
        link.execute(f"set local role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute("select * from auth.users")
        link.rollback()


def test_the_part_keeps_accounts_and_can_change_nothing_about_the_tables(postgres: Server, accounts: str) -> None:
    with postgres.connect(accounts) as link:
        link.execute(f"set local role {ROLE}".encode())
        link.execute("insert into auth.users (email) values ('ada@example.org')")
        assert link.execute("select email from auth.users").fetchall() == [("ada@example.org",)]
        for refused in (
            "drop table auth.users",
            "alter table auth.users disable row level security",
            "create table auth.more ()",
            "create policy all_ on auth.users to public using (true)",
            "select * from maia.users",
            "delete from auth.audit_events",
            "insert into maia_meta.applied_parts values ('x', repeat('0', 64))",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), link.transaction():
                link.execute(refused.encode())
        link.rollback()


def test_tables_that_were_moved_here_are_not_taken_over(postgres: Server) -> None:
    postgres.create("moved", template=DATABASE)
    try:
        with postgres.connect("moved", autocommit=True) as link:
            link.execute("create role maia_moved_test nologin")
            link.execute(
                "create table auth.users (id uuid primary key); alter table auth.users owner to maia_moved_test"
            )
            (fault,) = parts.faults(link, ("auth",))
            assert fault.startswith("auth.users was moved here and belongs to maia_moved_test")
            assert parts.faults(link, ()) == ()
        with pytest.raises(Refused, match=r"auth\.users was moved here"):
            migrate.migrate(partial(postgres.connect, "moved"), print, wanted=("auth",))
        with postgres.connect("moved") as link:
            assert parts.applied(link) == {}
    finally:
        postgres.drop("moved")
        with postgres.connect(autocommit=True) as link:
            link.execute("drop role maia_moved_test")


def test_a_file_that_fails_leaves_nothing_of_itself(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "auth.sql"
    broken.write_text("create table auth.half ();\nselect 1 / 0;\n")
    monkeypatch.setitem(parts.FILES, "auth", broken)
    with pytest.raises(Refused, match=r"auth\.sql, line \S+ division by zero"):
        migrate.migrate(partial(postgres.connect, DATABASE), print, wanted=("auth",))
    with postgres.connect(DATABASE) as link:
        assert link.execute("select to_regclass('auth.half')").fetchone() == (None,)
        assert parts.applied(link) == {}
