"""What a file says of itself before it is loaded, and what the programs say that load it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.migrate.refused import Refused
from infra import dumpfile
from infra.dumpfile import Dump

PLAIN = b"--\n-- PostgreSQL database dump\n--\nSET statement_timeout = 0;\n"
ENDS = b"-- PostgreSQL database dump complete\n"
TAR = b"toc.dat".ljust(257, b"\0") + b"ustar"


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"PGDMP\x01\x0f", "custom"),
        (TAR, "tar"),
        (PLAIN + ENDS, "plain"),
        (b"\nSET statement_timeout = 0;\nCREATE SCHEMA x;\n", "plain"),
    ],
)
def test_a_dump_is_known_by_what_it_begins_with(tmp_path: Path, content: bytes, form: str) -> None:
    (tmp_path / "dump").write_bytes(content)
    assert dumpfile.recognise(tmp_path / "dump") == Dump(tmp_path / "dump", form)


def test_a_folder_is_one_by_its_table_of_contents(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"without a toc\.dat"):
        dumpfile.recognise(tmp_path)
    (tmp_path / "toc.dat").touch()
    assert dumpfile.recognise(tmp_path) == Dump(tmp_path, "directory")


@pytest.mark.parametrize("content", [b"postgresql://u:p@h/d\n", b"host=h user=u dbname=d", b""])
def test_a_description_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source").write_bytes(content)
    assert dumpfile.recognise(tmp_path / "source") is None
    assert dumpfile.recognise(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "of a whole cluster"),
        (PLAIN, "cut short"),
        (b"\x1f\x8b\x08", "compressed as a whole"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything_is_made(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "dump").write_bytes(content)
    with pytest.raises(Refused, match=told) as refused:
        dumpfile.recognise(tmp_path / "dump")
    assert refused.value.mend


def test_the_same_content_is_the_same_dump_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toc.dat").write_bytes(b"toc")
        (tmp_path / name / "1.dat").write_bytes(b"rows")
    one, other = (Dump(tmp_path / name, "directory") for name in ("one", "other"))
    assert (one.digest(), one.size) == (other.digest(), 7)
    (tmp_path / "other" / "1.dat").write_bytes(b"Rows")
    assert one.digest() != other.digest()


def test_roles_and_schemas_are_those_that_definitions_name() -> None:
    text = b"""CREATE SCHEMA auth;
CREATE SCHEMA IF NOT EXISTS "Own";
ALTER TABLE public.a OWNER TO supabase_admin;
GRANT ALL ON TABLE public.a TO "the ""o"" one";
GRANT SELECT ON TABLE public.a TO PUBLIC;
CREATE POLICY p ON public.a FOR SELECT TO anon, "Read er" USING (true);
CREATE POLICY q ON public.a TO public WITH CHECK (true);
ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT ALL ON TABLES TO taker;
"""
    assert dumpfile.schemas(text) == {"auth", "Own"}
    assert dumpfile.roles(text) == {"supabase_admin", 'the "o" one', "anon", "Read er", "maker"}


def test_what_a_program_could_not_load_is_told_by_kind_and_name_without_the_rows() -> None:
    said = """pg_restore: connecting to database for restore
pg_restore: creating EXTENSION "pg_graphql"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 2; 3079 16400 EXTENSION pg_graphql (no owner)
pg_restore: error: could not execute query: ERROR:  extension "pg_graphql" is not available
DETAIL:  Could not open it.
Command was: CREATE EXTENSION pg_graphql;
pg_restore: creating TABLE "public.my table"
pg_restore: processing data for table "public.my table"
pg_restore: from TOC entry 9; 0 16500 TABLE DATA my table supabase_admin
pg_restore: error: COPY failed for table "my table": ERROR:  violates check constraint "c"
DETAIL:  Failing row contains (secret).
pg_restore: warning: errors ignored on restore: 2
"""
    told = [(each.kind, each.name, each.why) for each in dumpfile.faults(said, "custom")]
    assert told == [
        ("extension", "pg_graphql", 'could not be loaded: extension "pg_graphql" is not available'),
        (
            "table data",
            "public.my table",
            'could not be loaded: COPY failed for table "my table": ERROR:  violates check constraint "c"',
        ),
    ]
    assert dumpfile.fatal(1, said, "custom") == ""
    assert dumpfile.fatal(1, "pg_restore: error: could not read: end of file\n", "custom") == (
        "could not read: end of file"
    )


def test_of_plain_sql_the_line_is_told() -> None:
    said = 'psql:/dump:12: ERROR:  relation "x" does not exist\nLINE 1: secret\n'
    assert [(each.name, each.why) for each in dumpfile.faults(said, "plain")] == [
        ("line 12", 'could not be loaded: relation "x" does not exist')
    ]
