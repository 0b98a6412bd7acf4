"""Versions of the schema: applied once, whole, in their order, and what they made told."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from app.schema import catalogue, documents, files, migrate, snapshot, standing
from app.schema.refused import Refused
from app.schema.standing import Standing
from infra import schema
from tests.persons import Link
from tests.postgres import DATABASE, SPARE, Server


def test_migrating_again_changes_nothing(postgres: Server) -> None:
    assert migrate.migrate(partial(postgres.connect, DATABASE), print) == ()
    with postgres.connect(DATABASE) as link:
        assert standing.look(link) == Standing(files.versions()[-1])


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
        assert standing.look(link) == Standing("0002")
        assert list(catalogue.findings(link)) == []


def test_a_version_that_fails_leaves_nothing_of_itself_and_names_its_line(postgres: Server, release: Path) -> None:
    _add(release, "0002", "create table kept_not (id int);\nselect 1;\nselect broken;\n")
    with pytest.raises(Refused, match=r'0002/10_identity.sql, line 3: column "broken" does not exist'):
        migrate.migrate(partial(postgres.connect, DATABASE), print)
    with postgres.connect(DATABASE) as link:
        assert standing.look(link).version == "0001"
        assert link.execute("select to_regclass('maia.kept_not')").fetchone() == (None,)


def test_a_changed_file_and_a_skipped_version_are_refused(postgres: Server, release: Path) -> None:
    with postgres.connect(DATABASE) as link:
        changed = release / "sql" / "0001" / "10_identity.sql"
        before = changed.read_text()
        changed.write_text(before + "\n")
        assert standing.look(link).faults == ("0001/10_identity.sql is not the file that was applied",)
        with pytest.raises(Refused, match="10_identity"):
            migrate.migrate(partial(postgres.connect, DATABASE), print)
        changed.write_text(before)
        shutil.copytree(release / "sql" / "0001", release / "sql" / "0000")
        assert standing.look(link).faults == ("version 0000 was skipped: 0001 is applied",)
        shutil.move(release / "sql" / "0001", release / "sql" / "0003")
        assert standing.look(link).faults == (
            "version 0000 was skipped: 0001 is applied",
            "version 0001 was applied, and this release has none of that number",
        )


def test_what_a_newer_release_added_is_left_as_it_is(postgres: Server, release: Path) -> None:
    with postgres.connect(DATABASE) as link, link.transaction(force_rollback=True):
        link.execute("insert into maia_meta.applied_files values ('0002', '10_identity.sql', %s)", ["0" * 64])
        assert standing.look(link) == Standing("0002", ahead=("0002",))
        _add(release, "0002", "-- Another.\n")
        assert standing.look(link).faults == ("0002/10_identity.sql is not the file that was applied",)
        shutil.move(release / "sql" / "0002", release / "sql" / "0003")
        assert standing.look(link) == Standing(
            "0002", ("0003",), ("version 0002 was applied, and this release has none of that number",)
        )


def test_two_cannot_migrate_at_once(postgres: Server) -> None:
    with postgres.connect(DATABASE) as other:
        other.execute("select pg_advisory_lock(%s)", [migrate.LOCK])
        with pytest.raises(Refused, match="somebody else"):
            migrate.migrate(partial(postgres.connect, DATABASE), print, patience=0)


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
