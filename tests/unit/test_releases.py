"""What runs is written down with its program; what an upgrade changes is told; what must not be done is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra import prune, releases
from infra.cli import common, rollback, upgrade
from infra.errors import MaiaError
from infra.images import build, store
from infra.prune import folders
from infra.releases import CURRENT, LOCK, PREVIOUS, Image, Move, Record, difference, outlook, program, tracker
from infra.site import REPO, Site
from infra.stack import Stack
from tests.releases import FIRST, checkout, first

IMAGE = Image(
    id="sha256:" + "a" * 64,
    folder="images/nginx-0123456789ab",
    packages={"nginx": "1.26.3-3", "tini": "0.19.0-1"},
    sources={"nginx": "1.26.3-3", "tini": "0.19.0-1"},
)
RECORD = Record(
    release="0.0.9",
    tree="0123456789ab",
    when="2026-11-23T10:00:00+00:00",
    settings={"version": 1},
    images={"nginx": IMAGE},
    parts={"gateway": IMAGE.id},
    cache=[IMAGE.folder, "venv-0123456789ab"],
    point="20261123T100000Z",
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MAIA_SITE", str(tmp_path / "site"))
    monkeypatch.setenv("MAIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(LOCK, raising=False)
    made = Site.current()
    made.stack_file("local").parent.mkdir(parents=True)
    made.stack_file("local").write_text("config: {}\n")
    return made


def built(record: Record) -> None:
    """The cache has its images."""
    for image in record.images.values():
        place = store.home().parent / image.folder
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps({"id": image.id, "used": []}))


def test_a_record_is_read_as_it_was_written(site: Site) -> None:
    assert releases.read(site, "local") is None
    releases.write(site, "local", CURRENT, RECORD)
    assert releases.read(site, "local") == RECORD
    (releases.home(site, "local") / "current.json").write_text('{"release": "0.1.0"}')
    with pytest.raises(MaiaError, match="record of a release is damaged"):
        releases.read(site, "local")


def test_a_program_is_what_runs_without_tests_and_documents_and_has_one_hash_wherever_it_lies(tmp_path: Path) -> None:
    names = {str(path) for path in program.files()}
    assert {"maia", "pyproject.toml", "infra/__main__.py", "stacks/schema.json", "requirements.lock"} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", ".")) or "__pycache__" in name]
    tracked = set(
        subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split(
            "\0"
        )
    )
    assert {name for name in tracked if name.split("/")[0] in program.FOLDERS} <= names
    copy = checkout(tmp_path / "copy", releases.version(), *releases.upgrades_from())
    (copy / "infra" / "__pycache__").mkdir()
    (copy / "infra" / "__pycache__" / "x.pyc").touch()
    assert os.access(copy / "maia", os.X_OK)
    before = program.fingerprint(copy)
    (copy / "maia").chmod(0o644)
    assert program.fingerprint(copy) != before


def test_beside_a_record_lies_its_program_and_the_programs_that_none_names_go(site: Site) -> None:
    runs = replace(RECORD, release=releases.version(), tree=program.fingerprint())
    for tree in ("old", "older"):
        (releases.home(site, "local") / f"0.0.9-{tree}").mkdir(parents=True)
    program.keep(site, "local", runs)
    releases.write(site, "local", CURRENT, runs)
    releases.write(site, "local", PREVIOUS, replace(RECORD, tree="old"))
    program.tidy(site, "local")
    assert program.fingerprint(releases.folder(site, "local", runs)) == runs.tree
    assert sorted(path.name for path in releases.home(site, "local").iterdir()) == sorted(
        ["0.0.9-old", f"{runs.release}-{runs.tree}", "current.json", "previous.json"]
    )


def test_a_program_of_another_release_is_kept_from_what_runs(site: Site) -> None:
    releases.write(site, "local", CURRENT, RECORD)
    stack = Stack("local", site)
    for verb in ("up", "down", "secrets rotate", "restore"):
        with pytest.raises(MaiaError, match=r"release 0\.0\.9 runs, this is .*maia upgrade --stack local"):
            with common.locked(stack, verb):
                pass
    for verb in ("upgrade", "rollback", "destroy", "prune", "restart"):
        with common.locked(stack, verb):
            pass
    releases.write(site, "local", CURRENT, replace(RECORD, release=releases.version()))
    with common.locked(stack, "up"):
        pass


@pytest.mark.parametrize(
    ("back", "told"),
    [
        (
            "",
            r"an upgrade from 0\.0\.9 to 0\.1\.0 was cut short \(maia upgrade --stack local finishes it, maia rollback",
        ),
        (CURRENT, r"the way back from 0\.0\.9 to 0\.1\.0 was cut short \(maia rollback --stack local ends it"),
    ],
)
def test_a_stack_between_two_releases_is_left_to_the_verbs_that_end_it(site: Site, back: str, told: str) -> None:
    releases.depart(site, "local", Move(source="0.0.9", target="0.1.0", packages="", point="p", left="", back=back))
    with pytest.raises(MaiaError, match=told), common.locked(Stack("local", site), "up"):
        pass
    releases.arrive(site, "local")
    with common.locked(Stack("local", site), "up"):
        pass


def test_the_way_back_leads_to_what_was_left_wherever_the_upgrade_was_killed(site: Site) -> None:
    move = Move(source="0.0.9", target="0.1.0", packages="", point="p", left=RECORD.when)
    releases.write(site, "local", CURRENT, RECORD)
    assert releases.origin(site, "local", move) == CURRENT
    releases.write(site, "local", PREVIOUS, replace(RECORD, point="p"))
    assert releases.origin(site, "local", move) == CURRENT
    releases.write(site, "local", CURRENT, replace(RECORD, release="0.1.0", when="2026-11-24T10:00:00+00:00"))
    assert releases.origin(site, "local", move) == PREVIOUS
    assert releases.origin(site, "local", replace(move, back=CURRENT)) == CURRENT


def test_a_program_that_a_verb_starts_works_under_its_lock_and_nobody_else_does(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack("local", site)
    releases.write(site, "local", CURRENT, RECORD)
    script = "from infra.cli import common; from infra.site import Site; from infra.stack import Stack\n"
    script += "with common.locked(Stack('local', Site.current()), 'up'): print('in')"
    with common.locked(stack, "upgrade") as lock:
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=REPO, env=os.environ | {LOCK: str(lock)}, pass_fds=(lock,),
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == "in\n", done.stderr
        with site.lock("local").with_name("other.lock").open("w") as other:
            monkeypatch.setenv(LOCK, str(other.fileno()))
            with pytest.raises(MaiaError, match="held by maia upgrade"), common.locked(stack, "up"):
                pass


def test_only_the_releases_that_this_one_names_are_upgraded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "version", lambda: "0.3.0")
    monkeypatch.setattr(releases, "upgrades_from", lambda: ["0.2.0"])
    stack = Stack("local", site)
    with pytest.raises(MaiaError, match="not written down what runs"):
        upgrade.due(stack, images=False)
    for release, told in (
        ("0.1.0", r"no upgrade leads from one to the other \(upgrade to one of 0\.2\.0 first.*nothing was changed"),
        ("0.4.0", r"release 0\.4\.0 runs, this is 0\.3\.0 \(an older release comes back by maia rollback"),
    ):
        releases.write(site, "local", CURRENT, replace(RECORD, release=release))
        with pytest.raises(MaiaError, match=told):
            upgrade.due(stack, images=False)
    releases.write(site, "local", CURRENT, replace(RECORD, release="0.2.0"))
    assert upgrade.due(stack, images=False) == replace(RECORD, release="0.2.0")
    with pytest.raises(MaiaError, match="maia upgrade --stack local first"):
        upgrade.due(stack, images=True)
    releases.write(site, "local", CURRENT, replace(RECORD, release="0.3.0"))
    assert upgrade.due(stack, images=False) is None
    assert upgrade.due(stack, images=True) is not None


def test_there_is_no_way_back_without_a_record_its_program_and_its_images(site: Site) -> None:
    stack = Stack("local", site)
    with pytest.raises(MaiaError, match="no upgrade was made that could be undone"):
        rollback.possible(stack, PREVIOUS)
    releases.write(site, "local", PREVIOUS, RECORD)
    with pytest.raises(MaiaError, match=r"program of release 0\.0\.9 is gone"):
        rollback.possible(stack, PREVIOUS)
    place = releases.folder(site, "local", RECORD)
    place.mkdir()
    (place / "maia").touch()
    with pytest.raises(MaiaError, match=r"images of release 0\.0\.9 are gone: nginx"):
        rollback.possible(stack, PREVIOUS)
    built(RECORD)
    assert rollback.possible(stack, PREVIOUS) == RECORD


def test_what_the_way_back_needs_is_never_pruned(site: Site, tmp_path: Path) -> None:
    built(RECORD)
    environment = tmp_path / "cache" / "venv-0123456789ab"
    environment.mkdir()
    stale = {"images/nginx-0123456789ab", "venv-0123456789ab"}
    assert {item.what for item in folders.stale(0, (), releases.needed(site))} == stale
    releases.write(site, "local", PREVIOUS, RECORD)
    assert not list(folders.stale(0, (), releases.needed(site)))
    assert IMAGE.id in prune.in_use(site, None)


def test_a_build_makes_room_but_not_of_what_the_way_back_needs(site: Site, tmp_path: Path) -> None:
    built(RECORD)
    releases.write(site, "local", PREVIOUS, RECORD)
    folders = [store.home() / f"nginx-{number:012x}" for number in range(build.KEPT)]
    for age, folder in enumerate([*folders, store.home() / "nginx-0123456789ab"]):
        folder.mkdir(exist_ok=True)
        os.utime(folder, (1e9 - age,) * 2)
    (tmp_path / "image.tar").touch()
    build.keep(tmp_path, store.home() / "nginx-ffffffffffff", ("image.tar",))
    left = {path.name for path in store.home().iterdir()}
    assert left == {"nginx-ffffffffffff", "nginx-0123456789ab", *(folder.name for folder in folders[:-1])}


def test_newer_packages_have_another_key_and_none_the_one_they_always_had() -> None:
    recipe = store.recipes(["nginx"])[0]
    assert store.image_key(recipe) == store.image_key(recipe, None, "")
    moments = {store.image_key(recipe, None, moment) for moment in ("", "20260101T000000Z", "20260102T000000Z")}
    assert len(moments) == 3


def test_of_two_images_the_packages_that_come_go_and_change_are_told() -> None:
    after = replace(IMAGE, id="sha256:" + "b" * 64, packages={"nginx": "1.26.3-3+deb13u1", "zlib1g": "1.3"})
    (change,) = difference.images({"nginx": IMAGE}, {"nginx": after})
    assert change.packages == {
        "nginx": ("1.26.3-3", "1.26.3-3+deb13u1"),
        "tini": ("0.19.0-1", ""),
        "zlib1g": ("", "1.3"),
    }
    assert difference.images({"nginx": IMAGE}, {"nginx": IMAGE}) == []
    assert difference.parts(RECORD, {"gateway": after.id, "new": "sha256:1"}) == ["gateway"]


def test_keys_of_the_stack_file_that_come_go_or_have_another_default_are_told(tmp_path: Path) -> None:
    old = first(tmp_path / "old")
    assert difference.settings(old, REPO) == {"maia:backup.days": ("7", "14")}
    schema = json.loads((old / "stacks/schema.json").read_text())
    gone = schema["$defs"]["App"]["properties"].pop("trial")
    schema["properties"]["config"]["properties"]["maia:former"] = {"type": "string", "default": "x"}
    (old / "stacks/schema.json").write_text(json.dumps(schema))
    found = difference.settings(old, REPO)
    assert found["maia:apps.<name>.trial"] == ("", json.dumps(gone["default"]))
    assert found["maia:former"] == ('"x"', "")


def known(**releases: dict[str, str]) -> dict[str, object]:
    return {"nginx": {f"CVE-2026-{number}": {"releases": {"trixie": state}} for number, state in releases.items()}}


def test_vulnerabilities_are_those_that_the_tracker_knows_of_the_version() -> None:
    data = known(
        fixed={"status": "resolved", "fixed_version": "1.26.3-3+deb13u1", "urgency": "high"},
        open={"status": "open", "urgency": "not yet assigned"},
        never={"status": "resolved", "fixed_version": "0", "urgency": "unimportant"},
        old={"status": "resolved", "fixed_version": "1.9.0-1", "urgency": "low"},
        minor={"status": "open", "urgency": "unimportant"},
        unknown={"status": "undetermined"},
    )
    after = replace(IMAGE, sources={"nginx": "1.26.3-3+deb13u1"})
    found = tracker.changes(data, "trixie", [IMAGE], [after])
    assert found == {
        "CVE-2026-fixed nginx": ("1.26.3-3", ""),
        "CVE-2026-open nginx": ("1.26.3-3", "1.26.3-3+deb13u1"),
    }
    told = replace(outlook.unchanged(RECORD, None), vulnerabilities=found)
    assert "known:     1 fixed (CVE-2026-fixed nginx), 0 new (-), 1 stay" in list(outlook.lines(told))
    assert any("not looked at: no tracker data" in line for line in outlook.lines(outlook.unchanged(RECORD, None)))


@pytest.mark.parametrize("text", ["", "[]", '{"nginx": {"CVE-1": "open"}}', '{"nginx": []}'])
def test_what_is_not_the_trackers_data_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "json").write_text(text)
    with pytest.raises(MaiaError, match="data/json"):
        tracker.load(tmp_path / "json")
    with pytest.raises(MaiaError, match="No such file"):
        tracker.load(tmp_path / "absent")


def test_settings_go_back_and_secrets_stay(site: Site) -> None:
    site.stack_file("local").write_text(
        "config:\n  maia:version: 1\n  maia:newest: true\n  secrets:operator: {secure: v1:x}\nencryptionsalt: y\n"
    )
    rollback.settle(Stack("local", site), replace(RECORD, settings={"version": 1, "subnet": "10.1.0.0/20"}))
    assert Stack("local", site).values == {
        "maia:version": 1, "maia:subnet": "10.1.0.0/20", "secrets:operator": {"secure": "v1:x"}
    }  # fmt: skip
    assert "encryptionsalt: y" in site.stack_file("local").read_text()
    assert site.stack_file("local").stat().st_mode & 0o777 == 0o600


def test_the_first_release_is_older_than_this_one() -> None:
    assert releases.numbers(FIRST) < releases.numbers(releases.version())
    assert all(releases.numbers(each) < releases.numbers(releases.version()) for each in releases.upgrades_from())
