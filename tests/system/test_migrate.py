"""The move off Supabase: a project with everything that real ones have, and the appliance's own Postgres."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.migrate import flow, journal, plan, shape, source, verify
from app.migrate.copy import Copy
from app.migrate.journal import Told
from app.migrate.plan import Plan
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from app.migrate.verify import Result
from app.schema import migrate
from infra import cli, dumper, signature
from infra.cli import common
from infra.migrate import connect, written
from infra.site import REPO, Site
from tests.postgres import Server, server
from tests.processes import kill_at
from tests.supabase import compare
from tests.supabase.project import DATABASE, PASSWORD, Project, project
from tests.system.mutations import until

Link = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def supabase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("from"), "maia-test-from") as running:
        yield running


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("to"), "maia-test-to") as running:
        running.create("maia")
        migrate.migrate(partial(running.connect, "maia"), lambda _: None)
        running.create("bare", template="maia")
        yield running


@pytest.fixture(scope="module")
def planned(supabase: Project, appliance: Server) -> Plan:
    with connect(appliance.socket) as target:
        return plan.make(source.read(supabase.file), target, Selection(), None)


def told(planned: Plan, kind: str, name: str) -> tuple[str, str]:
    """Outcome and reason of one object."""
    found = [each for each in planned.verdicts if (each.kind, each.name) == (kind, name)]
    assert len(found) == 1, [each.name for each in planned.verdicts if each.kind == kind]
    return found[0].outcome, found[0].why


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


# Copy


@pytest.fixture(scope="module")
def image(appliance: Server) -> str:
    return str(appliance.container.attrs["Image"])


def copier(
    supabase: Project,
    appliance: Server,
    database: str,
    image: str,
    say: Callable[[str], None] = lambda _: None,
    **more: Any,
) -> Copy:
    """A copy into one of the appliance's databases."""
    found = source.read(more.pop("described", supabase.file))
    to = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname=database)
    return Copy(found, to, dumper.of(image), more.pop("chosen", Selection()), None, say, **more)


@pytest.fixture
def fresh(appliance: Server) -> Iterator[str]:
    """An appliance's database into which nothing was moved yet."""
    appliance.drop("other")
    appliance.create("other", template="bare")
    yield "other"
    appliance.drop("other")


@pytest.fixture(scope="module")
def moved(supabase: Project, appliance: Server, planned: Plan, image: str) -> list[Told]:
    """What became of each object."""
    return copier(supabase, appliance, "maia", image).run()


def same_rows(supabase: Project, appliance: Server, database: str) -> list[str]:
    """Tables that are not as they are at the source, of those that come over."""
    with supabase.platform() as link:
        there = compare.rows(link)
    with appliance.connect(database) as link:
        here = compare.rows(link)
    stays = {"vault", "cron", "realtime", "supabase_migrations"}
    return [
        name for name, found in there.items()
        if name.partition(".")[0] not in stays and name != "public.closed" and here.get(name) != found
    ]  # fmt: skip


def became(moved: list[Told], kind: str, name: str) -> tuple[str, str]:
    found = [each for each in moved if (each.kind, each.name) == (kind, name)]
    assert len(found) == 1, [each for each in moved if each.kind == kind]
    return found[0].outcome, found[0].why


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


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "at",
    [
        "reading the definitions",
        pytest.param("type public.mood", marks=LONG),
        pytest.param("public.huge:", marks=LONG),
        "public.profiles:",
        pytest.param("index public.", marks=LONG),
        "fk constraint",
        pytest.param("policy", marks=LONG),
        pytest.param("statistics", marks=LONG),
    ],
)
def test_killed_anywhere_it_goes_on_and_everything_is_there(
    supabase: Project, appliance: Server, fresh: str, image: str, at: str
) -> None:
    command = [sys.executable, "-m", "tests.supabase.mover", appliance.socket, fresh, str(supabase.file), image]
    kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), at)
    until(lambda: idle(appliance, fresh), "the killed one's sessions end")
    found = copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []
    assert [each for each in found if not each.outcome] == []


def idle(appliance: Server, database: str) -> bool:
    with appliance.connect() as link:
        query = "select count(*) from pg_stat_activity where datname = %s"
        return link.execute(query, [database]).fetchone() == (0,)


def test_what_was_written_between_a_kill_and_the_next_run_is_there(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    command = [sys.executable, "-m", "tests.supabase.mover", appliance.socket, fresh, str(supabase.file), image]
    with supabase.owner() as link:
        link.execute("create table public.moving (id int primary key, body text); create table public.other (id int)")
        link.execute("insert into public.moving select n, repeat(md5(n::text), 100) from generate_series(1, 5000) n")
        try:
            kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), "public.moving:")
            until(lambda: idle(appliance, fresh), "the killed one's sessions end")
            link.execute(
                "update public.moving set body = 'changed' where id = 3; delete from public.moving where id = 4"
            )
            link.execute("insert into public.other values (1), (1)")
            copier(supabase, appliance, fresh, image).run()
            assert same_rows(supabase, appliance, fresh) == []
        finally:
            link.execute("drop table public.moving, public.other")


def test_a_source_that_ends_its_connections_is_one_line_and_the_next_run_goes_on(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    def say(text: str) -> None:
        if text.startswith("public.memories:"):
            with supabase.platform() as link:
                link.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'maia migrate'"
                )

    with pytest.raises(Refused, match="went away") as refused:
        copier(supabase, appliance, fresh, image, say).run()
    assert "\n" not in str(refused.value)
    copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []


def test_a_full_target_stops_the_copy_and_it_goes_on_when_there_is_room(
    supabase: Project, appliance: Server, fresh: str, image: str
) -> None:
    filler, free = "/var/lib/postgresql/filler", "$(df --output=avail -B1 /var/lib/postgresql | tail -1)"

    def say(text: str) -> None:
        if text.startswith("1 of"):
            appliance.container.exec_run(
                [
                    "sh",
                    "-c",
                    f"test -e {filler} || fallocate -l $(({free} - 6000000)) {filler}",
                ],
                user="root",
            )

    try:
        with pytest.raises(Refused, match=r"No space left|disk full"):
            copier(supabase, appliance, fresh, image, say).run()
    finally:
        appliance.container.exec_run(["rm", "-f", filler], user="root")
    until(lambda: idle(appliance, fresh), "the broken off one's sessions end")
    copier(supabase, appliance, fresh, image).run()
    assert same_rows(supabase, appliance, fresh) == []


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


# Verify


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


# The verbs


@pytest.fixture
def maia(
    appliance: Server, moved: list[Told], image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """The verb on a stack that is no more than this Postgres and a site folder."""
    part = SimpleNamespace(image_id=image, mounts=())
    plan = SimpleNamespace(has=lambda name: True, container=lambda name: part)
    stack = SimpleNamespace(name="moving", site=Site(tmp_path / "site"), plan=plan)
    (stack.site.sockets("moving")).mkdir(parents=True)
    (stack.site.sockets("moving") / "postgres").symlink_to(appliance.socket)
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
