"""The target kept current while the source serves."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app.migrate import following, slots
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from tests.postgres import Server
from tests.supabase.following import kill, once, slot_names, sync, writing
from tests.supabase.moving import copier, same_rows
from tests.supabase.project import Project, twin
from tests.system.mutations import until

CHOSEN = Selection.of(
    ["auth", "Odd schema"],
    [f"public.{name}" for name in (
        "kinds", "huge", "table", "Users", "users", "user_s", "worn", "logs", "bare", "doubled", "slots", "base",
        "derived", "ring_a", "ring_b", "voice_notes", "memories", "scratch", "Ünïcode 表 🌍", "profiles", "events",
        "events_2025", "events_2026", "events_2026_a", "events_2026_rest", "events_else",
    )],
)  # fmt: skip
"""The odd ones; all tables are followed in the test of a cutover."""


@pytest.fixture(scope="module")
def own(supabase: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with twin(supabase, "written", tmp_path_factory.mktemp("own") / "source") as made:
        yield made


@pytest.fixture(scope="module")
def followed(own: Project, appliance: Server, image: str, planned: object) -> Iterator[str]:
    """A database that was copied while somebody wrote to the source, and follows it."""
    name = "followed"
    appliance.create(name, template="bare")
    with writing(own) as done:
        copier(own, appliance, name, image, chosen=CHOSEN).run()
        once(sync(own, appliance, name))
        until(lambda: done() > 20, "some was written")
    yield name
    sync(own, appliance, name).stop()
    appliance.drop(name)


def differing(own: Project, appliance: Server, database: str) -> list[str]:
    def chosen(name: str) -> bool:
        schema, _, table = name.partition(".")
        return CHOSEN.takes(schema.strip('"'), table.strip('"'))

    return same_rows(own, appliance, database, chosen)


def test_what_is_written_during_copy_and_sync_is_there(own: Project, appliance: Server, followed: str) -> None:
    with writing(own) as done:
        began = done()
        once(sync(own, appliance, followed))
        until(lambda: done() > began + 20, "some more was written")
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []


KINDS = (
    "feeling, feelings, at, placed, marked, spans, days, many, about, plain, raw, list, grid, single, twice, exact, "
    "price, moment, local, day, clock, gap, net, net2, mac, bits, more, found, ask, doc, tags, pt, ring, word, ref, "
    "fn, one, who, lsn, money"
)
CHANGES = {
    "of every kind of value": f"insert into public.kinds ({KINDS}) select {KINDS} from public.kinds where id < 4",
    "an update beside a large value": "update public.huge set raw = '\\x01' where id = 2",
    "of a key": 'update public."table" set "column" = 77 where "column" = 3',
    "of what a column is derived from": "update public.kinds set price = 5 where id = 2",
    "of names that must be quoted": '''update public."Users" set "with ""quote""" = '%s', "%s{}" = '"' where id = 3;
        insert into "Odd schema"."a.b" values (2, '%'); delete from public."Ünïcode 表 🌍" where "wert;--" = 'שלום' ''',
    "of partitions": "insert into public.events (day, kind) values ('2026-02-03', 'a'), ('1999-01-01', 'x'); "
    "update public.events set kind = 'z' where day = '2026-02-03'; delete from public.events where day < '2025-07-01'",
    "of an heir": "insert into public.derived values (9, 'nine', 'x'); update public.base set note = 'both'",
    "of a circle": "insert into public.ring_a values (5, null); insert into public.ring_b values (5, 5); "
    "update public.ring_a set b = 5 where id = 5",
    "all rows of tables": "truncate public.ring_a, public.ring_b; truncate public.voice_notes",
    "without a key": "update public.doubled set note = 'z' where note = 'c'; "
    "insert into public.doubled values (11, 'a'); delete from public.doubled where id = 1; "
    "insert into public.bare select",
    "of vectors": "update public.memories set half = null, body = 'x' where id < 5; "
    "delete from public.memories where id = 9",
    "of what is not in the log": "delete from public.scratch where id = 1",
}


def test_every_kind_of_change_comes_a_few_at_once(
    own: Project, appliance: Server, followed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "AT_ONCE", 7)
    with own.owner() as link:
        for change in CHANGES.values():
            link.execute(change.encode())
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []


def test_large_transactions_come_whole_and_what_was_taken_back_does_not(
    own: Project, appliance: Server, followed: str
) -> None:
    with own.owner() as link:
        link.execute(
            "insert into public.user_s select from generate_series(1, 30000); update public.user_s set id = id + 100000"
        )
        link.execute("begin; delete from public.user_s where id % 2 = 0; rollback")
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []


@pytest.mark.parametrize(
    ("step", "at"), [("written", "not forgotten"), pytest.param("sync", "bytes and", marks=pytest.mark.long)]
)
def test_killed_while_it_writes_it_goes_on(own: Project, appliance: Server, followed: str, step: str, at: str) -> None:
    with own.owner() as link:
        link.execute(
            "insert into public.user_s select from generate_series(1, 10); update public.worn set b = b || '+'"
        )
    kill(step, own, appliance, followed, at)
    with own.owner() as link:
        link.execute("update public.worn set b = b || '-'")
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []


def test_killed_while_it_begins_to_follow_it_begins_anew(own: Project, appliance: Server, followed: str) -> None:
    sync(own, appliance, followed).stop()
    kill("sync", own, appliance, followed, "is public.worn the same?")
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []
    assert len(slot_names(own)) == 1


def test_what_is_followed_is_not_written_to_by_others(appliance: Server, followed: str) -> None:
    for statement in ("delete from public.worn", "insert into public.events (day, kind) values ('2026-01-01', 'a')"):
        with appliance.connect(followed) as link, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            link.execute(statement.encode())


def test_it_is_compared_at_one_moment_while_somebody_writes(own: Project, appliance: Server, followed: str) -> None:
    with writing(own) as done:
        until(lambda: done() > 10, "some was written")
        found = sync(own, appliance, followed).verify()
        assert found.differing == []
        assert found.unexplained == []
        assert found.untouched
        began = done()
        until(lambda: done() > began, "it was written all the time")


def test_a_slot_that_is_gone_is_named_and_nothing_is_lost(own: Project, appliance: Server, followed: str) -> None:
    (name,) = slot_names(own)
    with own.owner() as link:
        link.execute("select pg_drop_replication_slot(%s)", [name])
        link.execute("update public.worn set b = 'unseen' where id = 5; delete from public.worn where id = 6")
    said: list[str] = []
    once(sync(own, appliance, followed, said.append))
    assert any(f"slot {name} is gone" in each for each in said)
    once(sync(own, appliance, followed))
    assert differing(own, appliance, followed) == []
    with appliance.connect(followed) as link:
        found = following.read(link)
    assert found and "is gone" in found.why


def test_a_table_that_is_changed_is_named_and_goes_on_once_it_is_changed_here(
    own: Project, appliance: Server, followed: str
) -> None:
    with own.owner() as link:
        link.execute("update public.worn set b = 'before' where id = 7")
        link.execute("alter table public.worn add newer text")
        link.execute("update public.worn set newer = 'after' where id = 8")
    try:
        with pytest.raises(Refused, match=r"public\.worn: its definition was changed .* newer"):
            once(sync(own, appliance, followed))
        with appliance.connect(followed) as link:
            assert link.execute("select b from public.worn where id = 7").fetchone() == ("before",)
            link.execute("alter table public.worn add newer text")
        once(sync(own, appliance, followed))
        assert differing(own, appliance, followed) == []
    finally:
        with own.owner() as link:
            link.execute("alter table public.worn drop newer")
        with appliance.connect(followed) as link:
            link.execute("alter table public.worn drop if exists newer")


def test_where_no_slot_is_allowed_tables_are_compared(
    own: Project, appliance: Server, followed: str, request: pytest.FixtureRequest
) -> None:
    found = sync(own, appliance, followed)
    found.stop()
    assert slot_names(own) == []
    with own.platform() as link:
        link.execute("alter role postgres noreplication")
    try:
        once(found)
        with own.owner() as link:
            link.execute("update public.worn set b = 'compared' where id = 9; delete from public.doubled where id = 2")
        once(found)
        assert slot_names(own) == []
        assert differing(own, appliance, followed) == []
        with appliance.connect(followed) as link:
            standing = following.read(link)
        assert standing and not standing.slotted
        assert "REPLICATION" in standing.why
        assert found.verify().same
    finally:
        with own.platform() as link:
            link.execute("alter role postgres replication")
