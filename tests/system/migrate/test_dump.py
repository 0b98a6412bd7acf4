"""A dump as the source: what it holds comes over, and what could not be loaded is said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from app.migrate.copy import Copy
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from app.migrate.verify import verify
from infra import dumper, dumpfile, dumps
from tests.postgres import Server
from tests.supabase.moving import same_rows
from tests.supabase.project import DATABASE, PLATFORM, Project

COUNTED = """
select schemaname::text, tablename::text, (xpath('/row/c/text()', query_to_xml(
  format('select count(*) as c from %I.%I', schemaname, tablename), false, true, '')))[1]::text
from pg_tables where schemaname in ('public', 'auth', 'storage') and tablename <> 'checked' order by 1, 2
"""
FORMS = {"custom": "-Fc", "directory": "-Fd", "tar": "-Ft", "plain": "-Fp"}


@pytest.fixture(scope="module")
def written(supabase: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps of the project, one of each form: as its superuser makes them, who may read everything."""
    folder = tmp_path_factory.mktemp("dumps")
    container = supabase.server.container
    for form, option in FORMS.items():
        to = f"/run/postgresql/{form}"
        words = ["pg_dump", option, "-f", to, f"host=/run/postgresql user={PLATFORM} dbname={DATABASE}"]
        code, said = container.exec_run(words, user="root")
        assert code == 0, said
        (Path(supabase.server.socket) / form).rename(folder / form)
    return folder


@pytest.fixture
def kept(written: Path) -> Iterator[Path]:
    """The dumps; what was loaded of them is removed."""
    yield written
    for form in FORMS:
        if dump := dumpfile.recognise(written / form):
            dumps.forget(dump)


def test_a_dump_comes_over_whole_and_is_loaded_once_for_all_steps(
    supabase: Project, appliance: Server, fresh: str, image: str, kept: Path
) -> None:
    dump = dumpfile.recognise(kept / "custom")
    assert dump
    connect = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname=fresh)
    said: list[str] = []
    with dumps.served(dump, image, said.append) as source:
        found = Copy(source, connect, dumper.of(image), Selection(), None, said.append).run()
    assert same_rows(supabase, appliance, fresh) == ["public.checked"]  # whose rows no dump brings past its check
    assert said.count("loading the dump") == 1
    with dumps.served(dump, image, said.append) as source:
        result = verify(source, connect, said.append)
        assert source.password == ""
    assert (result.differing, result.unexplained, result.untouched) == ([], [], True)
    assert said.count("loading the dump") == 1
    told = {(each.kind, each.name): each.why for each in found if "could not be loaded" in each.why}
    assert ("table data", "public.checked") in told
    assert told == {(each.kind, each.name): each.why for each in source.lost}


@pytest.mark.parametrize(
    "form", [pytest.param("directory", marks=pytest.mark.long), pytest.param("tar", marks=pytest.mark.long), "plain"]
)
def test_every_form_of_a_dump_holds_the_same(
    supabase: Project, appliance: Server, image: str, kept: Path, form: str
) -> None:
    dump = dumpfile.recognise(kept / form)
    assert dump
    assert dump.form == form
    with dumps.served(dump, image, lambda _: None) as source, source.connect() as link, supabase.platform() as there:
        assert link.execute(COUNTED).fetchall() == there.execute(COUNTED).fetchall()


def test_a_load_that_was_broken_off_begins_anew(kept: Path, image: str) -> None:
    dump = dumpfile.recognise(kept / "custom")
    assert dump

    def say(text: str) -> None:
        if text == "loading the dump":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), dumps.served(dump, image, say):
        pass
    with dumps.served(dump, image, lambda _: None) as source, source.connect() as link:
        assert link.execute("select count(*) > 0 from public.profiles").fetchone() == (True,)


def test_a_dump_that_ends_in_the_middle_is_one_line_and_nothing_of_it_is_kept(
    kept: Path, image: str, tmp_path: Path
) -> None:
    whole = (kept / "custom").read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    dump = dumpfile.recognise(cut)
    assert dump
    with pytest.raises(Refused) as refused, dumps.served(dump, image, lambda _: None):
        pass
    assert "end of file" in refused.value.what
    assert "\n" not in str(refused.value)
    assert dumps.kept(dump) is False


def test_what_cannot_be_loaded_is_named_with_its_kind(kept: Path, image: str, tmp_path: Path) -> None:
    file = tmp_path / "dump.sql"
    file.write_text(
        """create extension nowhere;
create table public.there (id int primary key);
CREATE POLICY own ON public.there TO somebody USING (auth.uid() is not null);
alter table public.there add foreign key (id) references public.absent;
"""
    )
    dump = dumpfile.recognise(file)
    assert dump
    try:
        with dumps.served(dump, image, lambda _: None) as source, source.connect() as link:
            assert link.execute("select polname::text from pg_policy").fetchall() == [("own",)]
            lost = {each.name: each.why for each in source.lost}
    finally:
        dumps.forget(dump)
    assert list(lost) == ["line 1", "line 4"]
    assert 'extension "nowhere" is not available' in lost["line 1"]
    assert 'relation "public.absent" does not exist' in lost["line 4"]
