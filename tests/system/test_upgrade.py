"""From the first release to this one and back, on a real stack: nothing is lost, and what fails undoes itself."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import psycopg
import pytest

from app.backup.archive import STANZA
from infra import releases
from infra.images import debian, layer, recipe, store
from infra.releases import version
from tests.conftest import STORES, Appliance, small
from tests.processes import kill_at
from tests.releases import BROKEN, FIRST, NEXT, checkout, edit, first, present

ROWS = 5000
PAUSES = 2
"""How often the gateway may be away while a release is exchanged: its own container is, once."""
ANSWER = 20
"""Seconds within which a gateway that is there answers, however busy the machine is."""


@dataclass
class Upgraded:
    """A stack that the first release brought up, and programs of other releases."""

    appliance: Appliance
    first: Path
    present: Path

    def maia(self, program: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        self.appliance.program = program
        return self.appliance.maia(*words, check=check)

    def refused(self, program: Path, *words: str) -> str:
        """The line with which a verb was refused."""
        done = self.maia(program, *words, check=False)
        assert done.returncode == 1, done.stdout
        return done.stderr.strip().splitlines()[-1]

    def release(self) -> str:
        """What runs, as it is written down."""
        record = releases.read(self.appliance.site, self.appliance.name)
        assert record
        return record.release

    def back_at(self, program: Path) -> None:
        """Have the stack at a release, whatever a test left."""
        if releases.moving(self.appliance.site, self.appliance.name):
            self.maia(self.present, "rollback", "--skip-checks")
        if self.release() == FIRST and program == self.present:
            self.maia(self.present, "upgrade", "--skip-checks")
        elif self.release() != FIRST and program == self.first:
            self.maia(self.present, "rollback", "--skip-checks")

    def sql(self, statement: str) -> list[Any]:
        socket = str(self.appliance.site.sockets(self.appliance.name) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as link:
            done = link.execute(statement.encode())
            return done.fetchall() if done.description else []

    def rows(self) -> int:
        return int(self.sql("select count(*) from kept")[0][0])

    def version(self) -> str:
        """Of the schema, as the database has it."""
        socket = str(self.appliance.site.sockets(self.appliance.name) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname="maia") as link:
            (found,) = link.execute("select max(version) from maia_meta.applied_files").fetchone() or ("",)
        return str(found)

    def containers(self) -> dict[str, tuple[str, str]]:
        """By name, id and when it was started."""
        found = docker.from_env().containers.list(all=True, filters={"label": f"maia.stack={self.appliance.name}"})
        return {str(each.name): (str(each.id), each.attrs["State"]["StartedAt"]) for each in found}

    def images(self) -> dict[str, str]:
        """By part, the id of the image that it runs."""
        found = docker.from_env().containers.list(filters={"label": f"maia.stack={self.appliance.name}"})
        return {each.labels["maia.part"]: each.attrs["Image"] for each in found}

    def state(self) -> dict[str, Any]:
        """All that an upgrade could touch."""
        site, name = self.appliance.site, self.appliance.name
        book = site.state / ".pulumi" / "stacks" / "maia" / f"{name}.json"
        files = [site.stack_file(name), book, *releases.home(site, name).glob("*.json")]
        points = sorted(path.name for path in site.archive(name).glob("restic/snapshots/*"))
        return {
            "containers": self.containers(),
            "files": {path.name: path.read_bytes() for path in files},
            "points": points,
            "rendered": {str(p): p.read_bytes() for p in site.files(name).rglob("*") if p.is_file()},
        }

    @property
    def note(self) -> Path:
        """What only the present release makes."""
        return self.appliance.root / "note"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    folder = tmp_path_factory.mktemp("upgrade")
    with small(folder / "site") as appliance:
        appliance.disable(*(set(STORES) - {"backup", "postgres"}), "prometheus", "status")
        appliance.write()
        made = Upgraded(appliance, first(folder / "first"), present(folder / "present"))
        made.maia(made.first, "up")
        made.maia(made.first, "backup")
        made.sql(f"create table kept as select generate_series(1, {ROWS}) as n")
        yield made
        appliance.program = made.present


@dataclass
class Served:
    """What a visitor of the gateway met who asked all the time."""

    answers: int = 0
    pauses: int = 0
    longest: float = 0.0
    _last: float = field(default_factory=time.monotonic)
    _away: bool = False

    def ask(self, client: httpx.Client) -> None:
        try:
            client.get("/")
        except httpx.HTTPError:
            self.pauses += not self._away
            self._away = True
            return
        now = time.monotonic()
        self.answers += 1
        self.longest = max(self.longest, now - self._last)
        self._last, self._away = now, False


@contextmanager
def visiting(appliance: Appliance) -> Iterator[Served]:
    served, over = Served(), threading.Event()
    trusted = ssl.create_default_context(cafile=appliance.ca)

    def go_on() -> None:
        while not over.wait(0.05):
            with httpx.Client(base_url=appliance.url, verify=trusted, trust_env=False, timeout=ANSWER) as client:
                served.ask(client)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield served
    finally:
        over.set()
        thread.join()
        print(f"{served.answers} answers, {served.pauses} pauses, the longest {served.longest:.1f} s")


def test_a_dry_run_tells_what_would_change_and_changes_nothing(made: Upgraded) -> None:
    before = made.state()
    found = json.loads(made.maia(made.present, "upgrade", "--dry-run", "--json").stdout)
    assert made.state() == before
    assert found["release"] == [FIRST, version()]
    (change,) = found["images"]
    assert change["image"] == "nginx"
    assert change["id"][0] == made.images()["gateway"] != change["id"][1]
    assert [(name, new) for name, (_, new) in change["packages"].items()] == [("tini", "")]
    assert found["parts"] == ["gateway"]
    assert found["settings"] == {"maia:backup.days": ["7", "14"]}
    assert found["resources"]["create"] == 1, "the note"
    assert found["schema"] == [f"version {NEXT}"]
    assert found["vulnerabilities"] is None


def test_what_must_not_be_upgraded_is_refused_in_one_line_and_untouched(made: Upgraded, tmp_path: Path) -> None:
    far = checkout(tmp_path / "far", "0.3.0", "0.2.0")
    before = made.state()
    assert "no upgrade leads from one to the other (upgrade to one of 0.2.0 first" in made.refused(far, "upgrade")
    assert f"release {FIRST} runs, this is {version()} (maia upgrade --stack" in made.refused(made.present, "up")
    assert "no upgrade was made that could be undone" in made.refused(made.present, "rollback")
    older = checkout(tmp_path / "older", "0.0.1")
    assert "an older release comes back by maia rollback" in made.refused(older, "upgrade")
    assert "nothing to upgrade" in made.maia(made.first, "upgrade").stdout
    assert made.state() == before


def test_without_a_point_there_is_no_upgrade(made: Upgraded) -> None:
    archive = made.appliance.site.archive(made.appliance.name)
    aside, before = archive.with_name("aside"), made.containers()
    archive.rename(aside)
    try:
        assert f"{archive}: no point can be written there (" in made.refused(made.present, "upgrade")
    finally:
        aside.rename(archive)
    repository = archive / "postgres" / "backup"
    owner = repository.stat()
    os.chown(repository / STANZA, 0, 0)
    try:
        assert "backup: " in made.refused(made.present, "upgrade", "--skip-checks")
    finally:
        os.chown(repository / STANZA, owner.st_uid, owner.st_gid)
    assert made.containers() == before
    container = docker.from_env().containers.get(f"maia-{made.appliance.name}-backup")
    container.stop()
    assert "not running or not healthy: backup (" in made.refused(made.present, "upgrade")
    container.start()
    assert {name: id_ for name, (id_, _) in made.containers().items()} == {
        name: id_ for name, (id_, _) in before.items()
    }
    assert made.release() == FIRST
    made.maia(made.first, "up", "--skip-checks")


def test_an_upgrade_keeps_the_data_and_serves_and_so_does_the_way_back(made: Upgraded) -> None:
    made.back_at(made.first)
    before, points = made.images(), made.state()["points"]
    with visiting(made.appliance) as served:
        said = made.maia(made.present, "upgrade").stdout
    assert f"upgraded: {FIRST} to {version()}" in said
    assert f"release:   {FIRST} → {version()}\n" in said
    assert "not looked at: no tracker data" in said
    assert "setting:   maia:backup.days default 7 → 14\n" in said
    assert served.answers
    assert served.pauses <= PAUSES
    assert made.release() == version()
    assert made.images() != before
    assert made.note.exists()
    assert made.version() == NEXT
    assert len(made.state()["points"]) > len(points)
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout
    assert f"release {version()} runs, this is {FIRST}" in made.refused(made.first, "up")
    made.sql("insert into kept values (0)")

    with visiting(made.appliance) as served:
        said = made.maia(made.present, "rollback").stdout
    assert f"release {FIRST} serves again" in said
    assert "what was written since is kept" in said
    assert served.pauses <= PAUSES
    assert made.images() == before
    assert made.release() == FIRST
    assert made.rows() == ROWS + 1
    assert not made.note.exists(), "what only the later release knows is gone"
    assert made.version() == NEXT, "data stays as it is, and the former release serves with it"
    assert "changes: none" in made.maia(made.first, "up", "--skip-checks").stdout
    assert "no upgrade was made that could be undone" in made.refused(made.present, "rollback")
    made.sql("delete from kept where n = 0")


def test_a_release_with_a_broken_part_undoes_itself(made: Upgraded, tmp_path: Path) -> None:
    made.back_at(made.first)
    broken = present(tmp_path / "broken")
    edit(broken, "infra/catalog/gateway.py", 'command=("sh", "/etc/maia/start.sh"),', BROKEN)
    before = made.images()
    line = made.refused(broken, "upgrade", "--skip-checks")
    assert line.startswith("maia: upgrade undone: "), line
    assert "no such module: flux" in line, "its last words hold the cause"
    assert line.endswith(f"(release {FIRST} serves again, with all data)")
    assert made.images() == before
    assert made.rows() == ROWS
    assert not made.note.exists()
    with visiting(made.appliance) as served:
        made.maia(made.first, "check")
    assert served.answers
    assert not served.pauses
    assert "changes: none" in made.maia(made.first, "up", "--skip-checks").stdout


@pytest.mark.long
def test_a_release_whose_checks_fail_undoes_itself(made: Upgraded, tmp_path: Path) -> None:
    made.back_at(made.first)
    red = present(tmp_path / "red")
    head = "def test_backup(case: Case, plan: Plan, state: Mapping[str, Any], expect: Expect) -> None:\n"
    edit(red, "checks/test_backup.py", head, f"{head}    assert case.rule != 'wal', 'red'\n")
    line = made.refused(red, "upgrade")
    assert "upgrade undone: checks: 1 failed: backup[backup-wal] (" in line, line
    assert made.release() == FIRST
    assert made.rows() == ROWS


def test_data_of_another_postgres_is_refused_before_anything_is_touched(made: Upgraded) -> None:
    made.back_at(made.first)
    before = made.state()
    volume = docker.from_env().volumes.get(f"maia-{made.appliance.name}-postgres-data")
    noted = Path(volume.attrs["Mountpoint"]) / "data" / "PG_VERSION"
    noted.write_text("15\n")
    try:
        told = "postgres: the data is of Postgres 15, this release has 17"
        assert told in made.refused(made.present, "upgrade", "--skip-checks")
        assert told in made.refused(made.first, "up")
    finally:
        noted.write_text("17\n")
    assert made.state() == before


def killed(made: Upgraded, *words: str, at: str) -> None:
    """Begin a verb of the present release, and end it and all it started once it says this."""
    made.appliance.program = made.present
    with made.appliance.start(*words) as running:
        kill_at(running, at)


@pytest.mark.long
def test_an_upgrade_that_was_killed_is_finished_or_undone_by_the_next_verb(made: Upgraded) -> None:
    made.back_at(made.first)
    before = made.images()
    killed(made, "upgrade", "--skip-checks", at="replacing Container")
    told = f"an upgrade from {FIRST} to {version()} was cut short"
    for program in (made.present, made.first):
        assert told in made.refused(program, "up")
    made.maia(made.present, "rollback", "--skip-checks")
    assert made.images() == before
    assert made.rows() == ROWS
    assert "changes: none" in made.maia(made.first, "up", "--skip-checks").stdout

    killed(made, "upgrade", at="] checks: ")
    done = made.maia(made.present, "upgrade", "--skip-checks")
    assert f"{told}: it is finished now" in done.stderr
    assert made.release() == version()
    assert made.rows() == ROWS
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout


@pytest.mark.long
def test_a_way_back_that_was_killed_is_ended_by_the_next_one_with_the_data_of_before_if_asked(made: Upgraded) -> None:
    made.back_at(made.present)
    made.sql("insert into kept values (0)")
    killed(made, "rollback", "--skip-checks", at="replacing Container")
    assert "the way back from" in made.refused(made.present, "up")
    assert made.rows() == ROWS + 1
    said = made.maia(made.present, "rollback", "--data", "--skip-checks").stdout
    assert " is back\n" in said
    assert made.release() == FIRST
    assert made.rows() == ROWS
    assert "changes: none" in made.maia(made.first, "up", "--skip-checks").stdout


MOMENT = "20260101T000000Z"
OLD = "1.0-1"


def aged(name: str, folder: Path) -> None:
    """An image as it was at that moment: the same, but for nginx, which was another version."""
    now = store.lookup(name)
    assert now
    place = store.place(name, store.image_key(recipe.load_all()[name], None, MOMENT))
    shutil.copytree(now.folder, place, copy_function=os.link)
    if name != "nginx":
        return
    with tarfile.open(now.archive) as archive:
        archive.extractall(folder, filter="data")
    (manifest,) = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / manifest["Config"]).read_text())["config"] | {"Env": ["PATH=/usr/sbin:/usr/bin:/bin"]}
    layers = [(folder / each, each.partition("/")[0]) for each in manifest["Layers"]]
    record = json.loads((place / "record.json").read_text())
    for link in ("image.tar", "record.json"):
        (place / link).unlink()
    tag = store.tag(name, place.name.rpartition("-")[2])
    record["id"] = layer.archive(place / "image.tar", tag, config, layers, debian.architecture())
    for one in (*record["used"], *record["packages"]):
        if one["name"] == "nginx":
            one["version"] = OLD
    (place / "record.json").write_text(json.dumps(record))


@pytest.fixture
def old_packages(made: Upgraded, tmp_path: Path) -> Iterator[None]:
    """The present release, with images of a moment when nginx was older."""
    made.back_at(made.present)
    base = store.place(recipe.BASE, store.base_key(recipe.load_base()))
    shutil.copytree(
        base, store.place(recipe.BASE, store.base_key(recipe.load_base(), None, MOMENT)), copy_function=os.link
    )
    moments = [MOMENT]
    try:
        for name in ("postgres", "backup", "nginx"):
            aged(name, tmp_path / name)
        made.appliance.write({"packages": MOMENT})
        made.maia(made.present, "up", "--skip-checks")
        yield
        moments += [str(made.appliance.stack.values.get("maia:packages"))]
    finally:
        for moment in moments:
            store.drop(moment)


@pytest.mark.long  # builds images
@pytest.mark.usefixtures("old_packages")
def test_newer_packages_come_by_the_same_way_and_go_back_by_it(made: Upgraded, tmp_path: Path) -> None:
    before = made.images()
    (tmp_path / "tracker").write_text(
        json.dumps({"nginx": {"CVE-1": {"releases": {"trixie": {"status": "resolved", "fixed_version": "1.1-1"}}}}})
    )
    done = made.maia(made.present, "upgrade", "--images", "--skip-checks", "--tracker", str(tmp_path / "tracker"))
    assert f"release:   {version()} stays" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines() if f" {OLD} " in line] == [["nginx", OLD]]
    assert "1 fixed (CVE-1 nginx), 0 new (-)" in done.stdout
    after = made.images()
    assert after["gateway"] != before["gateway"]
    assert made.rows() == ROWS
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout

    state = made.state()
    assert "nothing to do" in made.maia(made.present, "upgrade", "--images").stdout
    assert made.state() == state

    made.maia(made.present, "rollback", "--skip-checks")
    assert made.images() == before
    assert made.appliance.stack.config.packages == MOMENT
