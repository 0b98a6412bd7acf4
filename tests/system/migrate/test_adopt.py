"""The application's rows in ``public`` become rows of ``maia``, and go back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.migrate.adopt import adoption, maps
from app.migrate.adopt.outcome import Outcome
from app.migrate.adopt.undo import undo
from app.migrate.refused import Refused
from app.schema.sealed import Unreadable
from infra.site import REPO
from tests import supabase
from tests.postgres import Server
from tests.processes import kill_at
from tests.supabase.adopter import KEY
from tests.supabase.moving import idle
from tests.system.mutations import until

APPLICATION = Path(supabase.__file__).parent / "application.sql"
COUNTS = """
select relname::text, (xpath('/row/n/text()', query_to_xml(
  format('select count(*) as n from maia.%I', relname), false, true, '')))[1]::text::int
from pg_class where relnamespace = 'maia'::regnamespace and relkind = 'r' and not starts_with(relname, 'change_')
order by 1
"""


class Adopted:
    """A database with the application's tables."""

    def __init__(self, appliance: Server, database: str) -> None:
        self.appliance, self.database = appliance, database
        self.connect = partial(appliance.connect, database)
        self.found: dict[str, Outcome] = {}

    def adopt(self, table: str = "") -> dict[str, Outcome]:
        self.found = {each.name: each for each in adoption.adopt(self.connect, KEY, lambda _: None, table)}
        return self.found

    def plan(self, table: str = "") -> dict[str, Outcome]:
        return {each.name: each for each in adoption.plan(self.connect, KEY, lambda _: None, table)}

    def undo(
        self, table: str = "", *, changed: bool = False
    ) -> dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]:
        found = undo(self.connect, lambda _: None, table, changed=changed)
        return {each.name: (each.removed, each.changed, each.held) for each in found}

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as link:
            return link.execute(query.encode(), values or None).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        [(value,)] = self.rows(query, *values)
        return value

    def run(self, query: str) -> None:
        with self.connect() as link:
            link.execute(query.encode())


def _made(appliance: Server, name: str, template: str) -> Adopted:
    appliance.drop(name)
    appliance.create(name, template=template)
    return Adopted(appliance, name)


@pytest.fixture(scope="module")
def application(appliance: Server) -> Iterator[str]:
    """A database that holds the application's tables and an empty schema of ours."""
    made = _made(appliance, "application", "bare")
    made.run(APPLICATION.read_text())
    yield "application"
    appliance.drop("application")


@pytest.fixture(scope="module")
def adopted(appliance: Server, application: str) -> Iterator[Adopted]:
    """Where they were adopted; tests leave it as it is."""
    made = _made(appliance, "adopted", application)
    made.adopt()
    yield made
    appliance.drop("adopted")


@pytest.fixture
def fresh(appliance: Server, application: str) -> Iterator[Adopted]:
    yield _made(appliance, "adopting", application)
    appliance.drop("adopting")


@pytest.fixture
def again(appliance: Server, adopted: Adopted) -> Iterator[Adopted]:
    """What was adopted, to be changed."""
    yield _made(appliance, "adopting", "adopted")
    appliance.drop("adopting")


def test_the_plan_says_what_becomes_and_changes_nothing(fresh: Adopted, adopted: Adopted) -> None:
    before = fresh.rows(COUNTS)
    planned = fresh.plan()
    assert fresh.rows(COUNTS) == before
    assert planned == adopted.found, "and it is what happens"
    assert planned["users"].homeless == ("email", "password_hash")
    assert planned["users"].adopted == 60
    assert "stays readable" in planned["audit_logs"].why
    assert planned["ea_analytics_events"].why == "has no key by which its rows are told apart"


def test_rows_become_what_they_were(adopted: Adopted) -> None:
    assert adopted.one("select count(*) from maia.users") == 60
    assert adopted.one("select count(distinct handle) from maia.users where handle like 'same-name-________'") == 6
    told = "select display_name, created_at at time zone 'UTC' from maia.users where id = md5('user1')::uuid"
    assert adopted.rows(told) == [("Pérsön 1", datetime(2025, 3, 30, 3, 30))]
    assert adopted.rows("select role from maia.user_roles") == [("practitioner",)]
    assert (
        adopted.one(
            "select count(*) from maia.community_replies r join public.community_replies p on p.id = r.id"
            " where r.answers is not distinct from p.parent_reply_id and r.author_id::text = p.author_id::uuid::text"
        )
        == 1500
    )
    turns = """select speaker, body, path, model from maia.maia_turns
               where session_id = md5('session2')::uuid order by number limit 3"""
    assert adopted.rows(turns) == [
        ("person", "Q 1", "deep", None), ("maia", "A 1", "deep", "local-model-8b"), ("person", "Q 21", "deep", None)
    ]  # fmt: skip
    assert adopted.one("select count(distinct session_id) from maia.maia_turns where body like 'Said%'") == 4
    assert adopted.rows("select kind, detail from maia.memories limit 1") == [
        ("somatic", {"tags": ["t"], "metadata": {"deep": [1, None]}})
    ]
    assert adopted.rows("select title, tags from maia.community_commons_posts") == [("Title", [])], "a default stands"
    assert adopted.one("select min(day)::text from maia.elemental_evolution") == "2026-01-05"


def test_rows_that_ours_refuse_are_counted_and_named_and_stay(adopted: Adopted) -> None:
    found = adopted.found
    refused = {name: [(each.why, each.rows) for each in found[name].refused] for name in found if found[name].refused}
    assert refused == {
        "user_roles": [("breaks user_roles_role_check", 1)],
        "breakthrough_moments": [
            ("what it refers to is not there (breakthrough_moments_user_id_fkey)", 10), ("breaks element_check", 1)
        ],
        "elemental_evolution": [("breaks score_check", 1)],
        "consciousness_micro_moments": [("has the key of another row", 1)],
        "session_notes": [("breaks session_notes_minutes_check", 1)],
    }  # fmt: skip
    [reason] = found["session_notes"].refused
    assert reason.keys == (
        adopted.one("select session_id::text from public.session_notes where session_duration = 9999"),
    )
    assert adopted.one("select count(*) from public.session_notes") == 24


def test_the_second_run_has_nothing_to_do_but_for_what_is_new(again: Adopted) -> None:
    before = again.rows(COUNTS)
    assert {each.adopted for each in again.adopt().values()} == {0}
    assert again.rows(COUNTS) == before
    again.run("update public.session_notes set session_duration = 60 where session_duration = 9999")
    again.run("update public.community_channels set name = 'Otherwise' where slug = 'channel-2'")
    found = again.adopt()
    assert {name: each.adopted for name, each in found.items() if each.adopted} == {"session_notes": 1}
    assert found["community_channels"].changed == (
        again.one("select id::text from public.community_channels where slug = 'channel-2'"),
    )
    assert again.one("select title from maia.community_channels where slug = 'channel-2'") == "Channel 2"


def test_a_note_is_ciphertext_for_its_place_alone_and_opens_with_the_key(adopted: Adopted) -> None:
    row, content = adopted.rows("select id::text, handed from maia.session_notes where id = md5('note1')::uuid")[0]
    assert KEY.disclose("session_notes", "handed", row, content) == (
        '{"encrypted_notes": "canary note ünicode 1", "interventions_used": {"done": ["canary parts"]}}'
    )
    with pytest.raises(Unreadable):
        KEY.disclose("session_notes", "handed", adopted.one("select md5('note2')::uuid::text"), content)
    assert adopted.one("select count(*) from maia.awaiting_seal where table_name = 'session_notes'") == 23
    assert adopted.one("select count(*) from maia.session_notes where content is null and key_id is null") == 23


def test_the_plaintext_is_nowhere_in_what_is_dumped_of_our_schemas(adopted: Adopted) -> None:
    def dump(*schemas: str) -> str:
        words = [
            "pg_dump",
            "-h",
            "/run/postgresql",
            "-U",
            "postgres",
            *(f"--schema={name}" for name in schemas),
            adopted.database,
        ]
        code, said = adopted.appliance.container.exec_run(words)
        assert code == 0
        assert isinstance(said, bytes)
        return said.decode()

    assert "canary" in dump("public")
    ours = dump("maia", "maia_migrate", "maia_meta")
    assert "Felt 3" in ours
    assert "canary" not in ours
    assert KEY.secret.hex() not in ours
    assert "canary" not in adopted.appliance.log()


def test_its_author_seals_a_note_and_nobody_hands_in_another(again: Adopted) -> None:
    with again.connect() as link:
        author, row = link.execute(
            "select practitioner_id, id from maia.session_notes where signed_at is not null"
        ).fetchall()[0]
        link.execute(
            "insert into maia.sealing_keys (id, practitioner_id, wrapped, derivation) values (%s, %s, %s, '{}')",
            [KEY.identity, author, b"w" * 40],
        )
        sealed = b"MAIA" + bytes([1, 1]) + KEY.identity.bytes + b"n" * 12 + b"c" * 40
        link.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{author}"}}'])
        link.execute("set local role authenticated")
        assert link.execute("select count(*) > 0 from maia.awaiting_seal where id = %s", [row]).fetchone() == (True,)
        for wrong in ("minutes = 51", "handed = handed"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), link.transaction():
                link.execute(f"update maia.session_notes set {wrong} where id = %s".encode(), [row])
        link.execute("update maia.session_notes set content = %s, handed = null where id = %s", [sealed, row])
        assert link.execute("select id from maia.awaiting_seal where id = %s", [row]).fetchall() == []
        link.execute("reset role")
        assert link.execute("select * from maia.changed_unlogged()").fetchall() == []
    kept = again.undo("session_notes")
    assert kept["session_notes"] == (22, (str(row),), ()), "it is the author's by now"


def test_what_was_adopted_is_in_the_log_of_changes(adopted: Adopted) -> None:
    assert adopted.rows("select * from maia.broken_chains()") == []
    assert adopted.rows("select * from maia.changed_unlogged()") == []
    logged = "select verb, role, count(*) from maia.change_log where table_name = 'session_notes' group by 1, 2"
    assert adopted.rows(logged) == [("INSERT", "postgres", 23)]


def test_undone_there_is_nothing_left_and_it_can_be_adopted_again(again: Adopted, application: str) -> None:
    there = again.rows(COUNTS)
    again.undo()
    assert again.rows(COUNTS) == Adopted(again.appliance, application).rows(COUNTS)
    assert again.one("select count(*) from maia_migrate.adopted") == 0
    again.adopt()
    assert again.rows(COUNTS) == there


def test_what_somebody_changed_or_hung_something_on_since_is_named_and_kept(again: Adopted) -> None:
    moment = again.one("select min(id::text) from maia.breakthrough_moments")
    again.run(f"update maia.breakthrough_moments set body = 'Otherwise' where id = '{moment}'")
    person = again.one("select md5('user30')::uuid::text")
    again.run(f"insert into maia.dreams (user_id, body) values ('{person}', 'A dream')")
    kept = again.undo()
    assert kept["breakthrough_moments"] == (58, (moment,), ())
    whose = again.one("select user_id::text from maia.breakthrough_moments")
    assert kept["users"][2] == tuple(sorted({person, whose}))
    assert again.rows("select body from maia.dreams") == [("A dream",)]
    assert again.undo(changed=True)["breakthrough_moments"][0] == 1


def test_one_table_is_adopted_and_undone_by_itself(fresh: Adopted) -> None:
    assert fresh.adopt("users")["users"].adopted == 60
    assert {name for name, rows in fresh.rows(COUNTS) if rows and name in ("users", "groups", "maia_turns")} == {
        "users"
    }
    assert fresh.undo("public.users")["users"] == (60, (), ())
    with pytest.raises(Refused, match="no map is of it"):
        fresh.adopt("nothing")


def test_a_table_that_says_too_little_stays_and_it_is_said_why(fresh: Adopted) -> None:
    fresh.run("alter table public.session_notes drop column session_date, drop column created_at")
    found = fresh.plan("session_notes")["session_notes"]
    assert (found.why, found.adopted) == ("nothing in it says held_at", 0)


@pytest.mark.parametrize("at", ["users", pytest.param("session_notes", marks=pytest.mark.long)])
def test_killed_anywhere_it_goes_on_and_everything_is_there(fresh: Adopted, adopted: Adopted, at: str) -> None:
    command = [sys.executable, "-m", "tests.supabase.adopter", fresh.appliance.socket, fresh.database]
    kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), f": {at}\n")
    until(lambda: idle(fresh.appliance, fresh.database), "the killed one's sessions end")
    fresh.adopt()
    assert fresh.rows(COUNTS) == adopted.rows(COUNTS)
    journal = "select name, count(*), sum(said) from maia_migrate.adopted group by 1 order by 1"
    assert fresh.rows(journal) == adopted.rows(journal)


def test_every_map_is_understood_by_the_server_where_its_table_has_all_that_it_looks_for(fresh: Adopted) -> None:
    fresh.run("drop schema public cascade; create schema public; create schema if not exists auth")
    columns: dict[str, dict[str, None]] = {}
    for each in maps.read():
        if each.target:
            named = [name for column in each.columns.values() for name in (*column.sources, *column.until)]
            usual = [name for column in maps.common().values() for name in column.sources]
            ours = fresh.rows(
                "select attname::text from pg_attribute where attrelid = ('maia.' || %s)::regclass and attnum > 0",
                each.target,
            )
            given = (*named, *usual, *(name for (name,) in ours), *each.key, *each.where)
            columns.setdefault(each.source, {}).update(dict.fromkeys(name.partition(".")[0] for name in given))
    made = []
    for table, names in columns.items():
        # One key for all, and names that are one to a map are one.
        folded = {name.replace("_", ""): name for name in names if name != "id"}
        made.append(f"create table {table} (id int primary key, {', '.join(f'{n} text' for n in folded.values())})")
    fresh.run("; ".join(made))
    found = fresh.plan()
    assert {name: each.why for name, each in found.items() if each.why} == {}
    assert found.keys() == {each.name for each in maps.read() if each.target}


def test_while_a_copy_is_under_way_nothing_is_adopted(fresh: Adopted) -> None:
    fresh.run((Path(adoption.__file__).parents[1] / "journal.sql").read_text())
    fresh.run(
        """insert into maia_migrate.run (source, selection, plan, path)
           values ('s', '{"schemas": [], "tables": []}', '{}', '')"""
    )
    with pytest.raises(Refused, match="is not copied yet"):
        fresh.adopt()
