"""The database of MAIA's data on a real stack: made by `up`, brought further, and never at the cost of its data."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from app.schema import files
from infra.releases import version
from tests.conftest import STORES, Appliance, small
from tests.processes import kill_at
from tests.releases import ADDED, NEXT, checkout, edit, with_version
from tests.system.test_backup import sql

SLOW = f"{ADDED}select pg_sleep(5);\n"


@dataclass
class Made:
    """A stack, and programs of its release with other versions of the schema."""

    appliance: Appliance
    present: Path
    later: Path
    """With one version more."""

    def maia(self, program: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        self.appliance.program = program
        return self.appliance.maia(*words, check=check)

    def sql(self, statement: str) -> list[Any]:
        return sql(self.appliance, "maia", statement)

    def status(self, program: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.maia(program, "db", "status", "--json").stdout)
        return found

    def state(self) -> Any:
        """All that a refused verb could have touched."""
        name, site = self.appliance.name, self.appliance.site
        found = docker.from_env().containers.list(all=True, filters={"label": f"maia.stack={name}"})
        running = {(str(each.name), str(each.id), each.attrs["State"]["StartedAt"]) for each in found}
        rendered = {str(path): path.read_bytes() for path in site.files(name).rglob("*") if path.is_file()}
        return running, rendered, self.sql("select * from maia_meta.applied_files order by 1, 2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("database")
    with small(folder / "site") as appliance:
        appliance.disable(*(set(STORES) - {"backup", "postgres"}), "prometheus", "status")
        appliance.write()
        present = checkout(folder / "present", version())
        made = Made(appliance, present, with_version(checkout(folder / "later", version()), NEXT, SLOW))
        made.maia(present, "up", "--skip-checks")
        yield made


def test_up_makes_it_for_those_who_are_meant(made: Made) -> None:
    assert made.sql(
        "select datdba::regrole::text, has_database_privilege('public', oid, 'connect'),"
        " has_database_privilege('public', oid, 'temporary') from pg_database where datname = 'maia'"
    ) == [("maia_owner", False, False)]
    lets_in = "select rolname from pg_roles where has_database_privilege(oid, 'maia', 'connect') and not rolsuper"
    assert {name for (name,) in made.sql(lets_in)} == {"maia_owner", "anon", "authenticated", "service_role"}
    assert made.sql("select rolname from pg_roles where rolname ~ '^(maia_|anon|auth|service_)' and rolcanlogin") == []
    assert {name for (name,) in made.sql("select extname from pg_extension")} >= {"vector", "pgcrypto", "pgaudit"}
    assert made.sql("select current_setting('hnsw.iterative_scan'), current_setting('pgaudit.role')") == [
        ("strict_order", "maia_auditor")
    ]
    assert made.sql("select count(*) > 100 from pg_tables where schemaname = 'maia'") == [(True,)]
    status = made.status(made.present)
    assert (status["version"], status["pending"], status["findings"]) == (files.versions()[-1], [], [])


def test_up_again_changes_nothing(made: Made) -> None:
    before = made.state()
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout
    assert made.state() == before
    assert "nothing to change" in made.maia(made.present, "preview").stdout


def test_what_a_release_would_apply_is_shown_before_it_does(made: Made) -> None:
    before = made.state()
    said = made.maia(made.later, "preview").stdout
    assert ["update", "Schema", "schema"] in [line.split() for line in said.splitlines()]
    assert f"schema: version {NEXT}" in said.splitlines()
    script = f'eval "$({shlex.quote(str(made.later / "maia"))} env)"; pulumi preview'
    plain = subprocess.run(
        ["bash", "-c", script], env=made.appliance.environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, cwd=made.appliance.root, timeout=600,
    )  # fmt: skip
    assert plain.returncode == 0, plain.stderr
    assert f"schema: version {NEXT}" in plain.stdout
    assert "~ 1 to update" in plain.stdout
    assert made.state() == before


def changed(program: Path) -> None:
    edit(program, "app/schema/sql/0001/10_identity.sql", "create table", "-- Meanwhile.\ncreate table")


def skipped(program: Path) -> None:
    """The version that is applied has another number here."""
    home = program / "app" / "schema"
    shutil.move(home / "sql" / "0001", home / "sql" / "0002")
    shutil.copytree(home / "sql" / "0002", home / "sql" / "0000")


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (changed, "0001/10_identity.sql is not the file that was applied"),
        (skipped, "version 0000 was skipped: 0001 is applied"),
    ],
)
def test_another_history_is_refused_before_anything_is_touched(
    made: Made, tmp_path: Path, alter: Callable[[Path], None], told: str
) -> None:
    other = checkout(tmp_path / "other", version())
    alter(other)
    before = made.state()
    made.appliance.write({"gateway": made.appliance.values["gateway"] | {"names": ["localhost", "maia.example"]}})
    try:
        for words in (("up", "--skip-checks"), ("preview",), ("db", "migrate")):
            done = made.maia(other, *words, check=False)
            assert done.returncode == 1
            assert f"database maia: {told}" in done.stderr.strip().splitlines()[-1]
            assert "nothing was changed" in done.stderr.strip().splitlines()[-1]
    finally:
        made.appliance.write({"gateway": made.appliance.values["gateway"] | {"names": ["localhost"]}})
    assert made.state() == before


def test_a_migration_that_was_killed_leaves_nothing_of_itself_and_is_done_again(made: Made) -> None:
    made.appliance.program = made.later
    with made.appliance.start("up", "--skip-checks") as running:
        kill_at(running, "updating Schema")
    assert [row for row in made.state()[2] if row[0] == NEXT] == []
    said = made.maia(made.later, "up", "--skip-checks").stdout
    assert "changes: 1 update" in said
    status = made.status(made.later)
    assert (status["version"], status["pending"], status["faults"], status["findings"]) == (NEXT, [], [], [])
    assert "changes: none" in made.maia(made.later, "up", "--skip-checks").stdout


def test_the_release_before_serves_with_what_a_later_one_added(made: Made) -> None:
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout
    status = made.status(made.present)
    assert (status["version"], status["ahead"], status["faults"]) == (NEXT, [NEXT], [])
    assert "nothing to apply" in made.maia(made.present, "db", "migrate").stdout
    made.maia(made.present, "check", "-k", "database")


def test_a_stack_without_it_leaves_what_is_in_it(made: Made) -> None:
    made.sql("insert into maia.users (id, handle, display_name) values (gen_random_uuid(), 'ada', 'Ada')")
    made.appliance.write({"database": {"enabled": False}})
    assert "changes: 1 delete" in made.maia(made.present, "up", "--skip-checks").stdout
    refused = made.maia(made.present, "db", "migrate", check=False)
    assert refused.stderr.startswith("maia: maia:database.enabled: disabled (enable it")
    made.appliance.write({"database": {"enabled": True}})
    assert "changes: 1 create" in made.maia(made.present, "up", "--skip-checks").stdout
    assert made.sql("select display_name from maia.users") == [("Ada",)]
