"""The schema of MAIA on the appliance's own Postgres: applied, kept, and closed to whom it must be closed to."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.errors import CheckViolation, InsufficientPrivilege

from app.schema import catalogue, documents, files, migrate, sealed, snapshot
from app.schema.apply import Refused
from checks import test_postgres as checked
from infra import schema
from tests import tenants
from tests.postgres import Server, server

Link = psycopg.Connection[tuple[Any, ...]]

ADA, BEN, EVE = (uuid.UUID(int=number) for number in (0xADA, 0xBEE, 0xE7E))
DATABASE = "maia"
SPARE = "spare"
"""The same, to be changed for good."""
SEEN = {"community_commons_posts", "community_commons_comments"}
"""Tables whose rows are somebody's and are yet read by everybody who signed in."""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("pg"), "maia-test-schema") as running:
        running.create(DATABASE)
        migrate.migrate(partial(running.connect, DATABASE), lambda _: None)
        running.create(SPARE, template=DATABASE)
        yield running


@pytest.fixture(scope="module")
def _link(postgres: Server) -> Iterator[Link]:
    with postgres.connect(DATABASE) as link:
        yield link


@pytest.fixture
def link(_link: Link) -> Iterator[Link]:
    """As superuser, in a transaction that is undone."""
    with _link.transaction(force_rollback=True):
        _link.execute("set local lock_timeout = '20s'")  # what another test holds is a fault, not a reason to wait
        yield _link


@pytest.fixture(scope="module")
def people(postgres: Server) -> Iterator[tenants.Catalogue]:
    """Two people with a row in every table, on a connection that is undone at the end."""
    with postgres.connect(DATABASE) as link:
        with link.transaction(force_rollback=True):
            tenants.strangers(link, EVE)
            found = tenants.Catalogue(link)
            found.fill(ADA, BEN)
            yield found


@contextmanager
def acting(
    link: Link, role: str, claims: dict[str, Any] | None = None, dialect: str = "request.jwt.claims"
) -> Iterator[None]:
    """As a request of this role and token; whatever it does is undone."""
    with link.transaction(force_rollback=True):
        if dialect == "request.jwt.claim.sub":
            link.execute("select set_config('request.jwt.claim.sub', %s, true)", [(claims or {}).get("sub", "")])
        elif claims is not None:
            link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        link.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        yield


def token(user: uuid.UUID, **more: Any) -> dict[str, Any]:
    return {"sub": str(user), "role": "authenticated", **more}


# Versions


def test_migrating_again_changes_nothing(postgres: Server) -> None:
    assert migrate.migrate(partial(postgres.connect, DATABASE), print) == ()
    with postgres.connect(DATABASE) as link:
        assert migrate.state(link) == migrate.State(files.versions()[-1], (), ())


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the schema's files, to be changed."""
    copied = tmp_path / "schema"
    shutil.copytree(files.HOME, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(files, "HOME", copied)
    monkeypatch.setattr(files, "SQL", copied / "sql")
    return copied


def _add(release: Path, number: str, statements: str) -> None:
    before = f"{int(number) - 1:04}"
    (release / "sql" / number).mkdir()
    (release / "sql" / number / "10_identity.sql").write_text(statements)
    stub = (release / "versions" / "v0001.py").read_text()
    (release / "versions" / f"v{number}.py").write_text(
        stub.replace('"0001"', f'"{number}"').replace("None\n\n\ndef", f'"{before}"\n\n\ndef')
    )


def test_a_later_version_is_applied_on_top(postgres: Server, release: Path) -> None:
    _add(release, "0002", "-- More.\nalter table users add column signature prose;\n")
    assert migrate.migrate(partial(postgres.connect, SPARE), print) == ("0002",)
    with postgres.connect(SPARE) as link:
        assert migrate.state(link) == migrate.State("0002", (), ())
        assert list(catalogue.findings(link)) == []


def test_a_version_that_fails_leaves_nothing_of_itself_and_names_its_line(postgres: Server, release: Path) -> None:
    _add(release, "0002", "create table kept_not (id int);\nselect 1;\nselect broken;\n")
    with pytest.raises(Refused, match=r'0002/10_identity.sql, line 3: column "broken" does not exist'):
        migrate.migrate(partial(postgres.connect, DATABASE), print)
    with postgres.connect(DATABASE) as link:
        assert migrate.state(link).version == "0001"
        assert link.execute("select to_regclass('maia.kept_not')").fetchone() == (None,)


def test_a_changed_file_a_skipped_version_and_a_newer_database_are_refused(postgres: Server, release: Path) -> None:
    with postgres.connect(DATABASE) as link:
        changed = release / "sql" / "0001" / "10_identity.sql"
        before = changed.read_text()
        changed.write_text(before + "\n")
        assert migrate.state(link).faults == ("0001/10_identity.sql is not the file that was applied",)
        with pytest.raises(Refused, match="10_identity"):
            migrate.migrate(partial(postgres.connect, DATABASE), print)
        changed.write_text(before)
        shutil.move(release / "sql" / "0001", release / "sql" / "0003")
        shutil.copytree(release / "sql" / "0003", release / "sql" / "0002")
        assert migrate.state(link).faults == ("version 0001 was applied by a newer release",)
        shutil.move(release / "sql" / "0003", release / "sql" / "0001")
        with link.transaction(force_rollback=True):
            link.execute("insert into maia_meta.applied_files select '0003', file, sha256 from maia_meta.applied_files")
            shutil.copytree(release / "sql" / "0001", release / "sql" / "0003")
            assert migrate.state(link).faults == ("a version before 0003 was skipped",)


def test_two_cannot_migrate_at_once(postgres: Server) -> None:
    with postgres.connect(DATABASE) as other:
        other.execute("select pg_advisory_lock(%s)", [migrate.LOCK])
        with pytest.raises(Refused, match="somebody else"):
            migrate.migrate(partial(postgres.connect, DATABASE), print)


def test_a_difference_from_the_release_is_named(postgres: Server) -> None:
    with postgres.connect(DATABASE) as link, link.transaction(force_rollback=True):
        wanted = snapshot.take(link)
        link.execute("alter table maia.users add column beside text")
        link.execute("drop policy own_select on maia.dreams")
        found = list(snapshot.differences(wanted, snapshot.take(link)))
    assert "+ column maia.users.beside text" in found
    assert any(line.startswith("- policy maia.dreams.own_select") for line in found)


def test_the_verbs_say_where_it_stands_and_how_it_differs(postgres: Server) -> None:
    assert schema.bring(postgres.socket, print) == ()
    assert schema.state(postgres.socket).version == files.versions()[-1]
    assert schema.findings(postgres.socket) == []
    assert len(schema.root(postgres.socket)) == 64
    assert schema.differences(postgres.socket, print) == []


def test_the_documents_are_of_these_tables(link: Link) -> None:
    made = documents.render(link)
    assert {path.name: path.read_text() for path in documents.HOME.iterdir() if path.name in made} == made
    for domain, source in documents.diagrams(link).items():
        assert documents.mark(source) in (documents.HOME / f"{domain}.svg").read_text()


# The rules


def test_the_schema_breaks_none_of_its_rules(link: Link) -> None:
    assert list(catalogue.findings(link)) == []


BREAKING = {
    "row-security": "alter table maia.dreams no force row level security",
    "four-verbs": "drop policy own_delete on maia.dreams",
    "owners": "create role s_owner login; alter table maia.dreams owner to s_owner",
    "logins": "create role s_login login bypassrls",
    "asked-once": "create policy slow on maia.dreams for select to authenticated using (user_id = auth.uid())",
    "policy-indexes": "drop index maia.dreams_user_id_created_at_idx",
    "reference-indexes": "drop index maia.tier_features_feature_idx",
    "hung-rows": "alter table maia.dreams add column memory_id uuid references maia.memories",
    "search-paths": "create function maia.loose() returns int language sql as 'select 1'",
    "views": "create view maia.wide as select * from maia.dreams",
    "beyond-rows": "grant truncate on maia.dreams to authenticated",
    "anonymous-writes": "grant insert on maia.dreams to anon",
    "sealed": "alter table maia.session_notes add column plain maia.prose",
    "vectors": "alter table maia.dreams add column meaning extensions.vector(768)",
    "comments": "comment on table maia.dreams is null",
}


@pytest.mark.parametrize("rule", catalogue.RULES)
def test_a_rule_that_is_broken_is_named(link: Link, rule: str) -> None:
    link.execute(BREAKING[rule].encode())
    assert catalogue.broken(link, rule)


def test_the_check_of_a_running_appliance_finds_a_broken_rule(postgres: Server) -> None:
    plan: Any = None
    with postgres.connect(DATABASE, autocommit=True) as link:
        for rule in (checked.superusers, checked.schema):
            observed, expected = rule(link, plan)
            assert observed == expected
        link.execute("alter role service_role login")
        link.execute("revoke all on maia.dreams from anon; grant insert on maia.dreams to anon")
        try:
            assert checked.superusers(link, plan)[0] == {"postgres", "service_role"}
            found, _ = checked.schema(link, plan)
            assert {line.partition(":")[0] for line in found} == {"anonymous-writes", "logins"}
        finally:
            link.execute("alter role service_role nologin; revoke all on maia.dreams from anon")


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


# Sealed columns


def test_a_sealed_column_takes_ciphertext_alone(people: tenants.Catalogue) -> None:
    link, table = people.link, "session_notes"
    good = people.rows[table, ADA]["content"]
    for content in (b"She said that she " * 8, b"MAIA\x02\x01" + bytes(60), b"MAIE" + good[4:], good[:40]):
        with acting(link, "authenticated", token(ADA)), pytest.raises(CheckViolation), link.transaction():
            link.execute("update maia.session_notes set content = %s", [content])
    assert people.rows[table, ADA]["key_id"] == sealed.key_of(good)


def test_a_note_cannot_be_sealed_with_the_key_of_another_nor_changed_once_signed(people: tenants.Catalogue) -> None:
    link = people.link
    theirs = people.rows["session_notes", BEN]["content"]
    with acting(link, "authenticated", token(ADA)):
        with pytest.raises(psycopg.errors.ForeignKeyViolation), link.transaction():
            link.execute("update maia.session_notes set content = %s", [theirs])
        assert link.execute("update maia.session_notes set signed_at = now()").rowcount == 1
        assert link.execute("update maia.session_notes set minutes = 50").rowcount == 0
        assert link.execute("delete from maia.session_notes").rowcount == 0


# Consent


def test_consent_is_given_and_withdrawn_by_adding_and_never_backdated(people: tenants.Catalogue) -> None:
    link = people.link
    row = people.rows["user_consent_log", ADA]
    values = [ADA, row["purpose"], row["version"]]
    given = "insert into maia.user_consent_log (user_id, purpose, version, given) values (%s, %s, %s, false)"
    backdated = given.replace("given)", "given, created_at)").replace("false)", "true, '2020-01-01')")
    with acting(link, "authenticated", token(ADA)):
        link.execute(given, values)
        assert link.execute("select purpose, given from maia.user_consents").fetchall() == [(row["purpose"], False)]
        for statement, parameters in (
            (backdated, values),
            ("update maia.user_consent_log set given = true", None),
            ("delete from maia.user_consent_log", None),
        ):
            with pytest.raises(InsufficientPrivilege), link.transaction():
                link.execute(statement.encode(), parameters)


def test_a_passcode_opens_what_it_opens_once_and_not_after_its_end(people: tenants.Catalogue) -> None:
    link = people.link
    with link.transaction(force_rollback=True):
        tier = people.rows["subscription_tiers", tenants.NOBODY]["code"]
        for word, until in (("SOULLAB-NOW", "2100-01-01"), ("SOULLAB-PAST", "2020-01-02")):
            link.execute(
                """insert into maia.passcodes (digest, tier, uses_left, expires_at, created_at)
                values (sha256(convert_to(%s, 'UTF8')), %s, 1, %s, '2020-01-01')""",
                [word, tier, until],
            )
        link.execute("delete from maia.user_subscriptions")
        link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(token(ADA))])
        link.execute("set local role authenticated")
        assert link.execute("select maia.redeem_passcode('soullab-now ')").fetchone() == (tier,)
        assert link.execute("select tier, source from maia.user_subscriptions").fetchall() == [(tier, "passcode")]
        assert len(link.execute("select * from maia.my_features").fetchall()) == 1
        for word in ("SOULLAB-NOW", "SOULLAB-PAST", "SOULLAB-GUESSED"):
            with pytest.raises(psycopg.errors.InvalidParameterValue), link.transaction():
                link.execute("select maia.redeem_passcode(%s)", [word])


# The log of changes


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


# Vectors

PASSAGES = 600


def test_a_filter_of_one_percent_still_gives_as_many_as_were_asked_for(link: Link) -> None:
    link.execute("select setseed(0.5)")
    link.execute("insert into maia.wisdom_sources (id, title, kind, rights) values (%s, 'Book', 'book', 'own')", [ADA])
    link.execute(
        """insert into maia.wisdom_passages (source_id, place, body, element)
        select %s, n, 'words', case when n %% 100 = 0 then 'aether' else 'fire' end from generate_series(1, %s) n""",
        [ADA, PASSAGES],
    )
    link.execute(
        """insert into maia.passage_embeddings (passage_id, embedding)
        select p.id, (select array_agg(random() + case when i % 8 = p.place % 8 then 1 else 0 end)
                      from generate_series(1, 768) i where p.id is not null)::extensions.vector
        from maia.wisdom_passages p"""
    )
    link.execute("set local enable_seqscan = off; set local enable_sort = off")
    wanted = str([1.0] * 768)
    query = "select count(*) from maia.match_passages(%s::extensions.vector, 6, 'aether')"
    assert link.execute(query, [wanted]).fetchone() == (6,)
    plan = """explain (costs off) select e.passage_id from maia.passage_embeddings e
        join maia.wisdom_passages p on p.id = e.passage_id where p.element = 'aether'
        order by e.embedding OPERATOR(extensions.<=>) %s::extensions.vector limit 6"""
    assert "passage_embeddings_hnsw" in "\n".join(line for (line,) in link.execute(plan, [wanted]))
    link.execute("set local search_path = maia, extensions")
    link.execute("set local hnsw.iterative_scan = off")
    bare = plan.removeprefix("explain (costs off) ")
    assert len(link.execute(bare, [wanted]).fetchall()) < 10, (
        "the index stops early by itself: the setting is what helps"
    )


def test_a_vector_of_another_model_or_size_is_refused(people: tenants.Catalogue) -> None:
    link = people.link
    for change in ("model = 'text-embedding-3-small'", "embedding = '[1,2,3]'"):
        with pytest.raises((CheckViolation, psycopg.DataError)), link.transaction():
            link.execute(f"update maia.memory_embeddings set {change}".encode())
