"""What is said before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from app.migrate import plan, source
from app.migrate.plan import Plan
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from infra.migrate import connect
from tests.postgres import Server
from tests.supabase.moving import told
from tests.supabase.project import DATABASE, PASSWORD, Project


def test_everything_somebody_made_has_a_verdict(planned: Plan, supabase: Project) -> None:
    assert planned.refusals == ()
    with supabase.platform() as link:
        for kind, catalogue in {
            "table": "pg_class where relkind in ('r', 'p') and oid >= 16384",
            "policy": "pg_policy",
            "trigger": "pg_trigger where not tgisinternal and tgparentid = 0",
            "foreign key": "pg_constraint where contype = 'f' and conparentid = 0",
        }.items():
            (number,) = link.execute(f"select count(*) from {catalogue}".encode()).fetchone() or (0,)
            assert len([each for each in planned.verdicts if each.kind == kind]) == number, kind
    assert len(planned.taken) > 130


def test_what_is_broken_or_stays_is_named_with_its_reason(planned: Plan) -> None:
    assert told(planned, "function", "public.broken_sql()") == (
        "moved", 'broken at the source too: relation "gone_table" does not exist'
    )  # fmt: skip
    assert "syntax error" in told(planned, "function", "public.broken_body()")[1]
    assert told(planned, "table", "public.closed") == ("left", "postgres may not read it; grant select on it")
    assert told(planned, "table", "public.hooks")[0] == "changed"
    assert told(planned, "trigger", "hook on public.trapped")[0] == "left"
    assert told(planned, "view", "public.secret_names")[0] == "left"
    assert told(planned, "function", "auth.uid()") == ("changed", "the appliance's own takes its place")
    assert told(planned, "policy", "reporters on public.profiles")[0] == "changed"
    assert told(planned, "secret", "smtp")[0] == "left"
    assert told(planned, "job", "nightly")[0] == "left"
    assert told(planned, "setting", "app.settings.jwt_secret of the database")[0] == "left"
    assert told(planned, "setting", "search_path of the database") == ("moved", "")


def test_values_of_settings_and_secrets_are_not_in_the_plan(planned: Plan) -> None:
    written = json.dumps(planned.document())
    for secret in (PASSWORD, "of the source alone", "c2VhbGVk"):
        assert secret not in written


def test_tables_whose_binary_form_is_another_servers_go_as_text(planned: Plan) -> None:
    text = {table["name"] for table in planned.document()["tables"] if table["form"] == "text"}
    assert text == {"public.kinds", "public.memories"}


def test_looking_changes_nothing_and_cannot(supabase: Project) -> None:
    with source.read(supabase.file).connect() as link:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            link.execute("create table public.written (id int)")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"sslmode": "require"}, "server does not support SSL"),
        ({"dbname": "absent"}, 'database "absent" does not exist'),
        ({"port": "1"}, "Connection refused"),
    ],
)
def test_a_source_that_cannot_be_had_is_one_line(
    supabase: Project, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    described = source.read(supabase.describe(tmp_path / "source", **changed))
    with pytest.raises(Refused) as refused:
        described.connect()
    assert message in refused.value.what
    assert "\n" not in refused.value.what
    assert PASSWORD not in str(refused.value)


def test_a_role_that_row_security_hides_rows_from_is_refused(
    supabase: Project, appliance: Server, tmp_path: Path
) -> None:
    with supabase.platform() as link:
        link.execute("create role reader login password 'r'; grant usage on schema public, auth, storage to reader")
        link.execute("grant select on all tables in schema public, auth, storage to reader")
    try:
        described = source.read(supabase.describe(tmp_path / "source", user="reader", password="r"))
        with connect(appliance.socket) as target:
            made = plan.make(described, target, Selection(), None)
        assert "row security would hide rows from reader" in made.refusals[0].what
    finally:
        with supabase.platform() as link:
            link.execute(f"drop owned by reader; drop role reader; analyze auth.users -- {DATABASE}")
