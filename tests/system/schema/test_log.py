"""The log of changes and the server's own: what was done is in them, and tampering shows."""

from __future__ import annotations

import json

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests import tenants
from tests.persons import ADA, BEN, Link, acting, token
from tests.postgres import DATABASE, Server
from tests.system.mutations import until


def _faults(link: Link) -> set[str]:
    found = link.execute("select fault from maia.broken_chains() union select fault from maia.changed_unlogged()")
    return {fault for (fault,) in found}


def test_changes_are_logged_in_the_chain_of_their_owner(people: tenants.Catalogue) -> None:
    link = people.link
    with link.transaction(force_rollback=True):
        link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(token(ADA))])
        link.execute("set local role authenticated")
        link.execute("update maia.risk_flags set severity = 'acute'")
        seen = link.execute(
            "select actor, role, table_name, verb, columns from maia.change_log order by number desc"
        ).fetchone()
        assert seen == (ADA, "authenticated", "risk_flags", "UPDATE", ["severity"])
        with pytest.raises(InsufficientPrivilege), link.transaction():
            link.execute("delete from maia.change_log")
        link.execute("reset role")
        assert _faults(link) == set()


@pytest.mark.parametrize(
    ("tampering", "fault"),
    [
        (
            "update maia.change_log set actor = null, role = 'nobody' where number = 2",
            "its hash is not that of its content",
        ),
        ("delete from maia.change_log where number = 2", "an entry before it is missing"),
        (
            "delete from maia.change_log l using maia.change_heads h where h.chain = l.chain and l.number = h.entries",
            "it does not end where its head says",
        ),
        ("update maia.risk_flags set severity = 'acute'", "changed past the log"),
        ("delete from maia.risk_flags", "deleted past the log"),
    ],
)
def test_tampering_shows(people: tenants.Catalogue, tampering: str, fault: str) -> None:
    link = people.link
    with link.transaction(force_rollback=True):
        assert _faults(link) == set()
        root = link.execute("select maia.change_root()").fetchone()
        link.execute("set local session_replication_role = replica")
        link.execute(tampering.encode())
        assert fault in _faults(link)
        assert link.execute("select maia.change_root()").fetchone() == root


def test_what_comes_with_the_service_key_is_logged(people: tenants.Catalogue) -> None:
    link = people.link
    with acting(link, "service_role"):
        assert link.execute("update maia.dreams set lucid = true").rowcount == 2
        link.execute("reset role")
        found = link.execute(
            "select chain, columns from maia.change_log where role = 'service_role' order by chain"
        ).fetchall()
        assert found == [(ADA, ["lucid"]), (BEN, ["lucid"])]


def test_statements_on_clinical_tables_are_named_in_the_servers_log_without_their_text(postgres: Server) -> None:
    with postgres.connect(DATABASE, autocommit=True) as link:
        link.execute("set role service_role")
        link.execute("select 'canary-of-a-name' from maia.session_notes")
        link.execute("select 'canary-of-a-name' from maia.dreams")
    log = postgres.log()
    assert "AUDIT: OBJECT,1,1,READ,SELECT,TABLE,maia.session_notes" in log
    assert "READ,SELECT,TABLE,maia.dreams" not in log
    assert "canary-of-a-name" not in log


def test_a_row_that_was_refused_does_not_stand_in_the_servers_log(people: tenants.Catalogue, postgres: Server) -> None:
    link, row = people.link, people.rows["memories", ADA]
    with pytest.raises(CheckViolation), link.transaction():
        link.execute(
            "insert into maia.memories (id, user_id, kind, body, superseded_by) values (%s, %s, %s, %s, %s)",
            [BEN, ADA, row["kind"], "canary-of-a-row", BEN],
        )
    told = 'new row for relation "memories" violates check constraint'
    until(lambda: told in postgres.log(), "it is in the log that one was")
    assert "canary-of-a-row" not in postgres.log()
