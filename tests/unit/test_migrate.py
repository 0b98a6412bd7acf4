"""Of the move off Supabase, what is decided without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.migrate import dump, flow, pieces, preflight, scope, source, verdicts
from app.migrate.inventory import Function, Inventory, Thing
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from app.migrate.tables import Column, Table
from app.migrate.verdicts import Target

TABLE = Table(
    1, "public", "notes", "r", "p", 10, 8192, 8192, 8192, 1, True, False, True, ("id",),
    (Column("id", False, True),),
)  # fmt: skip
EMPTY = Inventory(
    170000, "project", "postgres", "UTF8", 1 << 20, datetime.now(UTC), 0.0, True, (), (TABLE,), {}, {}, {}, (), {},
    frozenset(), (), {}, 0,
)  # fmt: skip
TARGET = Target(170000, frozenset({"vector", "citext"}), {"vector": "extensions"}, {"anon": False, "backup": True})


def verdict(
    kind: str, name: str, schema: str = "public", found: Inventory = EMPTY, target: Target = TARGET, oid: int = 9
) -> tuple[str, str]:
    """Outcome and reason for one object."""
    decided = verdicts.decide(replace(found, things=(Thing(1, oid, kind, schema, name),)), target, Selection())
    return decided[0].outcome, decided[0].why


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "source"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://u@h/", "missing: dbname"),
        ("postgresql://u:hidden@h/d?options=-c%20x%3D1", "unknown: options"),
        ("hidden nonsense", "is no connection string"),
        ("host=h user=u dbname=d passfile=/etc/x", "unknown: passfile"),
    ],
)
def test_a_source_that_is_not_described_is_refused_without_quoting_it(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        source.read(written(tmp_path, text))
    assert told in refused.value.what
    assert "hidden" not in repr(refused.value)


def test_a_source_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="others may read it"):
        source.read(written(tmp_path, "postgresql://u:p@h/d", 0o640))


def test_a_source_is_asked_for_tls_and_its_password_is_told_nowhere(tmp_path: Path) -> None:
    found = source.read(written(tmp_path, "postgresql://u:secret@h:5/d"))
    assert "sslmode=require" in found.conninfo()
    for told in (found.conninfo(), found.name, repr(found), str(found)):
        assert "secret" not in told
    checked = source.read(written(tmp_path, "postgresql://u:secret@h/d?sslrootcert=/ca.pem"))
    assert "sslmode=verify-full" in checked.conninfo()


def test_what_the_platform_keeps_stays_with_its_reason() -> None:
    assert verdict("table", "vault.secrets", "vault") == ("left", scope.PLATFORM["vault"])
    assert verdict("event trigger", "mine", "")[0] == "left"
    assert verdict("publication", "supabase_realtime", "")[0] == "left"
    assert verdict("table", "maia.users", "maia") == ("left", "a schema of this name is the appliance's own")


def test_an_extension_comes_over_where_it_is_packaged_and_says_when_it_lies_elsewhere() -> None:
    found = replace(EMPTY, extensions=dict.fromkeys(("vector", "citext", "pg_graphql"), ("public", "1")))
    assert verdict("extension", "citext", "public", found) == ("moved", "")
    assert verdict("extension", "vector", "public", found)[0] == "changed"
    assert verdict("extension", "pg_graphql", "public", found)[0] == "left"


def test_a_policy_for_a_role_of_the_appliances_own_stays() -> None:
    found = replace(EMPTY, policies={7: ["anon"], 8: ["reporters", "public"], 9: ["backup"]})
    assert verdict("policy", "p", found=found, oid=7) == ("moved", "")
    assert verdict("policy", "p", found=found, oid=8) == (
        "changed",
        "reporters is made here, and nobody may log in as it",
    )
    assert verdict("policy", "p", found=found, oid=9)[0] == "left"


def test_a_broken_function_comes_over_and_is_named() -> None:
    broken = Function("sql", "select net.http_post('x')", True, False, 'relation "gone" does not exist')
    outcome, why = verdict("function", "f()", found=replace(EMPTY, functions={9: broken}))
    assert outcome == "moved"
    assert 'broken at the source too: relation "gone" does not exist' in why
    assert "calls net.http_post, which is not here" in why
    assert "search_path" in why


def test_what_leans_on_what_stays_stays_too_but_a_table_loses_its_default_only() -> None:
    found = replace(EMPTY, leaning={(1, 9): [("net", "net.http_post()")]})
    assert verdict("trigger", "t", found=found)[0] == "left"
    assert verdict("table", "public.t", found=found)[0] == "changed"


@pytest.mark.parametrize(
    ("found", "target", "room", "told"),
    [
        (replace(EMPTY, server=130000), TARGET, None, "is Postgres 13"),
        (replace(EMPTY, server=180000), TARGET, None, "is Postgres 18"),
        (replace(EMPTY, tables=(replace(TABLE, hidden=True),)), TARGET, None, "row security would hide rows"),
        (EMPTY, replace(TARGET, rows=("public.left",)), None, "is not empty: public.left"),
        (EMPTY, TARGET, 1 << 20, "0.0 GB are free"),
    ],
)
def test_what_could_not_end_well_is_refused_before_it_begins(
    found: Inventory, target: Target, room: int | None, told: str
) -> None:
    refused = list(preflight.refusals(found, target, found.tables, room))
    assert len(refused) == 1
    assert told in refused[0].what
    assert refused[0].mend


def test_a_plain_source_is_not_refused() -> None:
    assert list(preflight.refusals(EMPTY, TARGET, EMPTY.tables, 1 << 40)) == []


def test_only_what_was_asked_for_is_taken() -> None:
    chosen = Selection.of(["auth"], ["public.notes"])
    assert chosen.takes("auth", "users") and chosen.takes("public", "notes") and chosen.schema("public")
    assert not chosen.takes("public", "others")
    assert not chosen.schema("storage")


DUMP = """--
-- PostgreSQL database dump
--

SET row_security = off;

--
-- TOC entry 215 (class 1259 OID 16386)
-- Name: notes; Type: TABLE; Schema: public; Owner: postgres
-- Data Pos: 0
--

CREATE TABLE public.notes (
    id integer DEFAULT net.number() NOT NULL,
    at public.vector(3)
);


--
-- TOC entry 3400 (class 0 OID 0)
-- Dependencies: 215
-- Name: TABLE notes; Type: ACL; Schema: public; Owner: postgres
-- Data Pos: 0
--

GRANT ALL ON TABLE public.notes TO anon;
SET SESSION AUTHORIZATION supabase_admin;
GRANT SELECT ON TABLE public.notes TO "reporting team" WITH GRANT OPTION;
RESET SESSION AUTHORIZATION;
GRANT ALL ON TABLE public.notes TO backup;


-- Completed on 2026-11-23 17:36:55 UTC

--
-- PostgreSQL database dump complete
--

"""


def test_a_dump_is_taken_apart_by_object() -> None:
    table, grants = dump.take_apart(DUMP)
    assert (table.kind, table.label, table.key, table.early) == ("TABLE", "public.notes", (1259, 16386), True)
    assert table.text.startswith("CREATE TABLE") and table.text.endswith(");")
    assert (grants.kind, grants.needs, grants.early) == ("ACL", (215,), False)
    assert "Completed" not in grants.text


@pytest.mark.parametrize("cut", [len(DUMP) // 2, len(DUMP) - 60])
def test_half_a_dump_is_refused(cut: int) -> None:
    with pytest.raises(Refused, match="not whole"):
        dump.take_apart(DUMP[:cut])


def test_pieces_lose_what_stays_and_say_so() -> None:
    rules = pieces.Rules({}, TARGET, Selection(), [("public", "vector", "extensions")], {16386: ["net.number()"]})
    table, grants = pieces.judge(dump.take_apart(DUMP), rules)
    assert "id integer NOT NULL" in table.entry.text
    assert "at extensions.vector(3)" in table.entry.text
    assert table.change and "extensions instead of public" in table.why
    assert len(grants.entry.text.splitlines()) == 2
    assert "SESSION" not in grants.entry.text
    assert (grants.change, grants.why) == (True, "without what backup might do")
    assert pieces.grantees([grants]) == {"anon", "reporting team"}


def test_what_is_said_of_an_object_that_stays_stays_too() -> None:
    left = verdicts.Verdict("table", "public.notes", "left", "not asked for", (1259, 16386))
    judged = pieces.judge(dump.take_apart(DUMP), pieces.Rules({left.key: left}, TARGET, Selection()))
    assert [(each.outcome, each.why) for each in judged] == [("left", "not asked for")] * 2


@pytest.mark.parametrize(
    ("pages", "size", "parts"), [(0, 0, 1), (1, 900 << 20, 1), (1000, 8 << 20, 1), (99, 640 << 20, 10)]
)
def test_a_table_is_split_without_a_gap_and_open_at_its_end(pages: int, size: int, parts: int) -> None:
    made = flow.split(replace(TABLE, pages=pages, size=size))
    assert len(made) == parts
    assert made[0].first == 0 and made[-1].past is None
    assert [part.past for part in made[:-1]] == [part.first for part in made[1:]]
