"""Who serves: cut over, taken back with what was written meanwhile, or given up for good."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app.migrate import following, freeze
from app.migrate.refused import Refused
from app.migrate.verify import Result
from tests.postgres import Server
from tests.supabase.following import kill, once, slot_names, sync, turn, writing
from tests.supabase.moving import copier, same_rows
from tests.supabase.project import Project, twin
from tests.system.mutations import until

TARGET = "turned"
LONG = pytest.mark.long


@pytest.fixture(scope="module")
def own(supabase: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A source whose owner may write as a replica does, as Supabase's may."""
    with twin(supabase, "turning", tmp_path_factory.mktemp("own") / "source") as made:
        with made.owner() as link:
            link.execute(
                "create table public.keyless (a int, b text); insert into public.keyless values (1, 'a'), (1, 'a')"
            )
        yield made
        with made.platform("postgres") as link:
            link.execute("revoke set on parameter session_replication_role from postgres")


@pytest.fixture(scope="module")
def ready(own: Project, appliance: Server, image: str, planned: object) -> Iterator[Project]:
    """A source that is followed."""
    appliance.create(TARGET, template="bare")
    copier(own, appliance, TARGET, image).run()
    once(sync(own, appliance, TARGET))
    yield own
    appliance.drop(TARGET)


def state(appliance: Server) -> str:
    with appliance.connect(TARGET) as link:
        found = following.read(link)
    return found.state if found else ""


def allow(own: Project) -> None:
    with own.platform() as link:
        link.execute("grant set on parameter session_replication_role to postgres")
        link.execute("grant update on all sequences in schema auth to postgres")


def test_a_cutover_is_refused_until_it_can_be_taken_back(ready: Project, appliance: Server) -> None:
    found = sync(ready, appliance, TARGET)
    with pytest.raises(Refused, match="was not found the same"):
        turn(found).cutover()
    assert found.verify().same
    with pytest.raises(Refused, match="session_replication_role"):
        turn(found).cutover()
    with ready.platform() as link:
        link.execute("grant set on parameter session_replication_role to postgres")
    with pytest.raises(Refused, match=r"may not write to auth\.refresh_tokens_id_seq"):
        turn(found).cutover()
    allow(ready)
    with pytest.raises(Refused, match="there is no way back"):
        turn(found).rollback()
    assert state(appliance) == "following"
    with ready.owner() as link:
        link.execute("update public.worn set b = 'still served' where id = 3")


def test_what_was_written_after_the_cutover_is_in_the_old_database(ready: Project, appliance: Server) -> None:
    results: list[Result] = []
    steps = turn(sync(ready, appliance, TARGET), results)
    with writing(ready) as done:
        until(lambda: done() > 10, "some was written")
        assert steps.cutover().state == "serving"
    assert results[-1].same
    assert same_rows(ready, appliance, TARGET) == []
    with ready.owner() as link, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        link.execute("insert into public.user_s default values")
    with appliance.connect(TARGET) as link:
        link.execute("insert into public.user_s default values")
        link.execute(
            "insert into public.kinds (feelings, raw, days, ref) values ('{calm}', '\\x00', '(,)', 'auth.users')"
        )
        link.execute("update public.huge set raw = '\\x02' where id = 4; truncate public.voice_notes")
        link.execute("insert into auth.users (id, is_sso_user, is_anonymous) values (gen_random_uuid(), false, true)")
        link.execute("update public.keyless set b = 'w' where ctid = '(0,1)'; insert into public.bare select")
        link.execute("""delete from public.profiles where nick = 'Nick7'""")
        link.execute('update public."table" set "column" = 99 where "column" = 1')
    once(sync(ready, appliance, TARGET))
    with ready.owner() as link:
        assert link.execute('select count(*) from public."table" where "column" = 99').fetchone() == (1,)
    with appliance.connect(TARGET) as link:
        link.execute("insert into public.user_s default values")
    assert steps.rollback().state == "returned"
    assert same_rows(ready, appliance, TARGET) == []
    assert slot_names(ready) == []
    with ready.owner() as link, appliance.connect(TARGET) as here:
        numbers = "select last_value from pg_sequences where schemaname = 'public' order by sequencename"
        assert link.execute(numbers).fetchall() == here.execute(numbers).fetchall()
        link.execute("insert into public.user_s default values")
        assert link.execute("select to_regnamespace('maia_migrate')").fetchone() == (None,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            here.execute("insert into public.user_s default values")


def test_where_something_differs_the_source_serves_on(ready: Project, appliance: Server) -> None:
    found = sync(ready, appliance, TARGET)
    once(found)
    assert found.verify().same
    with appliance.connect(TARGET) as link:
        link.execute("drop policy dialect_three on public.profiles")
    with pytest.raises(Refused, match="differs: the source serves on"):
        turn(found).cutover()
    assert state(appliance) == "following"
    with ready.owner() as link:
        link.execute("update public.worn set b = 'serves on' where id = 3")
    with appliance.connect(TARGET) as link:
        link.execute("create policy dialect_three on public.profiles for update using (id = public.current_user_id())")
    once(found)
    assert same_rows(ready, appliance, TARGET) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("update public.worn set b = 'late' where id = 5", marks=LONG),
        "insert into public.keyless values (3, 'late')",
    ],
)
def test_a_source_that_is_written_to_although_it_is_frozen_serves_on(
    ready: Project, appliance: Server, change: str
) -> None:
    def say(text: str) -> None:
        if text == "definitions":  # all was brought over by then
            with ready.owner() as link:
                link.execute("set default_transaction_read_only = off")
                link.execute(change.encode())

    allow(ready)
    assert sync(ready, appliance, TARGET).verify().same
    with pytest.raises(Refused, match="was written to after it was frozen: the source serves on"):
        turn(sync(ready, appliance, TARGET, say)).cutover()
    assert state(appliance) == "following"
    once(sync(ready, appliance, TARGET))
    assert same_rows(ready, appliance, TARGET) == []


@pytest.mark.parametrize(
    ("cutover", "rollback"),
    [
        (": public.worn", ": is public.bare the same?"),
        pytest.param("freezing the source", "freezing what was moved", marks=LONG),
        pytest.param("is public.logs the same", ": public.worn", marks=LONG),
        pytest.param("refreshing public.totals", ": auth.users", marks=LONG),
    ],
)
def test_killed_in_cutover_and_in_rollback_the_same_goes_on(
    ready: Project, appliance: Server, cutover: str, rollback: str
) -> None:
    allow(ready)
    found = sync(ready, appliance, TARGET)
    once(found)
    assert found.verify().same
    kill("cutover", ready, appliance, TARGET, cutover)
    assert state(appliance) in ("freezing", "frozen")
    assert turn(found).cutover().serves == "this appliance"
    with appliance.connect(TARGET) as link:
        link.execute("update public.worn set b = b || 'x' where id < 9; insert into public.keyless values (2, 'here')")
        link.execute("insert into public.user_s select from generate_series(1, 3)")
    kill("rollback", ready, appliance, TARGET, rollback)
    assert state(appliance) == "returning"
    assert turn(found).rollback().serves == "the source"
    assert same_rows(ready, appliance, TARGET) == []


def test_a_cutover_that_was_begun_is_taken_back_and_the_last_one_is_final(
    ready: Project, appliance: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "PATIENCE", 1)
    found = sync(ready, appliance, TARGET)
    once(found)
    assert found.verify().same
    with ready.platform():  # a superuser's, which the owner of the project may not end
        with pytest.raises(Refused, match="cannot be ended: of supabase_admin"):
            turn(found).cutover()
        assert turn(found).rollback().state == "following"
        with ready.owner() as link:
            link.execute("update public.worn set b = 'taken back' where id = 4")
        assert turn(found).cutover(frozen=True, way_back=False).state == "serving"
    assert same_rows(ready, appliance, TARGET) == []
    with pytest.raises(Refused, match="it was given up"):
        turn(found).rollback()
    assert turn(found).finalize().state == "final"
    assert slot_names(ready) == []
    with appliance.connect(TARGET) as link:
        assert link.execute("select count(*) from pg_replication_slots").fetchone() == (0,)
        link.execute("insert into public.user_s default values")
