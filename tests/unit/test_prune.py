"""What may go of the cache folder, and what never does."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import cli, doctor, owner, prune
from infra.cli import common
from infra.images import store
from infra.images.recipe import load_all
from infra.prune import Item, folders
from infra.site import REPO, Site
from infra.stack import Stack


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAIA_VENDOR", raising=False)
    return tmp_path / "cache"


def key(number: int) -> str:
    return f"{number:012x}"


def plant(path: Path, age: int, **files: str) -> Path:
    """A folder that came so many hours ago."""
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    os.utime(path, (1e9 - age * 3600,) * 2)
    return path


def record(identity: str, *used: tuple[str, str]) -> str:
    packages = [{"sha256": digest, "name": name, "version": "1", "architecture": "all"} for digest, name in used]
    return json.dumps({"id": identity, "used": packages})


def stale(keep: int = 1, *used: str) -> set[str]:
    return {item.what for item in folders.stale(keep, used)}


def test_of_each_image_the_current_the_used_and_the_newest_before_stay() -> None:
    recipe = load_all()["redis"]
    current = store.image_key(recipe)[:12]
    plant(store.home() / f"redis-{current}", 90, record_json=record("sha256:current"))
    plant(store.home() / f"redis-{key(1)}", 80, record_json=record("sha256:used"))
    for number in (2, 3, 4):
        plant(store.home() / f"redis-{key(number)}", 10 * number, record_json=record(f"sha256:{number}"))
    plant(store.home() / f"redis-exporter-{key(5)}", 99, record_json=record("sha256:other"))
    assert stale(1, "sha256:used") == {f"images/redis-{key(3)}", f"images/redis-{key(4)}"}
    assert stale(2, "sha256:used") == {f"images/redis-{key(4)}"}
    everything = {f"images/redis-{key(number)}" for number in (1, 2, 3, 4)} | {f"images/redis-exporter-{key(5)}"}
    assert stale(0) == everything


def test_packages_stay_as_long_as_an_image_that_stays_was_made_of_them() -> None:
    plant(store.home() / f"redis-{key(1)}", 1, record_json=record("sha256:1", ("aa", "kept"), ("bb", "shared")))
    plant(store.home() / f"redis-{key(2)}", 2, record_json=record("sha256:2", ("bb", "shared"), ("cc", "gone")))
    plant(
        store.home() / f"base-{key(3)}",
        3,
        found_json=json.dumps({"used": json.loads(record("", ("dd", "base")))["used"]}),
    )
    pool = store.home() / "pool"
    pool.mkdir()
    for name in ("aa-kept", "bb-shared", "cc-gone", "dd-base", "ee-unheard-of"):
        (pool / f"{name}_1_all.deb").write_text("x")
    assert stale() == {
        f"images/redis-{key(2)}", "images/pool/cc-gone_1_all.deb", "images/pool/ee-unheard-of_1_all.deb"
    }  # fmt: skip


def test_the_launchers_environments_of_this_checkout_stay_and_the_bytecode_of_a_removed_one_goes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = (REPO / "maia").read_text()
    naming = next(line for line in launcher.splitlines() if line.startswith("name=venv-"))
    own = "/usr/bin/python3 3.13.5 (main) True"
    current = []
    for locks in ("requirements.lock", "requirements.lock requirements-dev.lock"):
        made = subprocess.run(
            ["sh", "-c", f'{naming}; echo "$name"'], env=os.environ | {"id": own, "here": str(REPO), "locks": locks},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        current.append(plant(home / made.stdout.strip(), 90, _ready=f"{locks}\n{own}\n"))
    monkeypatch.setattr(sys, "prefix", str(current[0]))
    for number in (1, 2):
        plant(home / f"venv-{key(number)}", number, _ready=f"requirements.lock\n{own}\n")
        plant(home / f"venv-{key(number + 2)}", number, _ready=f"requirements.lock requirements-dev.lock\n{own}\n")
    old = home / "pycache" / str(home / f"venv-{key(2)}").lstrip("/")
    plant(old / "lib", 1)
    plant(home / "pycache" / str(tmp_path / "no-such-checkout").lstrip("/"), 1)
    plant(home / "pycache" / str(current[1]).lstrip("/"), 1)
    bytecode = {str(path.relative_to(home)) for path in (old, old.parents[1] / "no-such-checkout")}
    assert stale() == {f"venv-{key(2)}", f"venv-{key(4)}"} | bytecode


def test_what_a_running_program_came_from_stays(home: Path) -> None:
    tool = plant(home / "tools" / f"pulumi-{key(1)}", 1)
    shutil.copy("/bin/sleep", tool / "pulumi")
    plant(home / "tools" / f"pulumi-{key(2)}", 2)
    with subprocess.Popen([tool / "pulumi", "60"]) as running:
        try:
            assert stale(0) == {f"tools/pulumi-{key(2)}"}
        finally:
            running.kill()
    assert stale(0) == {f"tools/pulumi-{key(1)}", f"tools/pulumi-{key(2)}"}


def test_an_environment_that_is_just_being_made_stays(home: Path) -> None:
    made = plant(home / f"venv-{key(1)}", 1)
    with (home / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert stale(0) == set()
    assert stale(0) == {made.name}


def test_what_has_a_name_of_another_kind_is_never_looked_at(home: Path) -> None:
    for name in ("ruff", "mypy/3.11", "images/locks", "images/logs", "workspaces/0123456789ab", "tools/own", "go"):
        plant(home / name, 1, file="x")
    assert stale(0) == set()


def test_a_removal_takes_it_out_of_its_place_at_once_and_the_next_one_clears_up_after_a_killed_one(home: Path) -> None:
    plant(home / "tools" / f"minio-{key(1)}", 1, minio="x" * 1000)
    plant(home / "trash" / "left" / f"minio-{key(2)}", 1, minio="x")
    (item, left) = sorted(folders.stale(0, ()), key=lambda item: -item.size)
    assert (item.what, item.size, left.what) == (f"tools/minio-{key(1)}", 1000, "trash/left")
    assert item.remove()
    assert left.remove()
    assert not item.remove(), "it is gone already"
    assert list((home / "tools").iterdir()) == list((home / "trash").iterdir()) == []


def test_what_the_cache_does_not_know_was_not_loaded_here(home: Path) -> None:
    assert owner.loaded() == []


def test_it_refuses_while_a_verb_changes_a_stack_and_waits_for_a_build(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIA_SITE", str(tmp_path / "site"))
    monkeypatch.setattr(prune, "docker_client", lambda: None)
    site = Site.current()
    site.stack_file("local").parent.mkdir(parents=True)
    site.stack_file("local").write_text("config: {}\n")
    left = plant(home / "tools" / f"minio-{key(1)}", 1, minio="x")
    with common.locked(Stack("local", site), "up"):
        assert cli.main(["prune", "--keep", "0"]) == 1
    assert "stack local: held by maia up" in capsys.readouterr().err
    said: list[str] = []
    lock = store.home() / "locks" / "base"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as build:
        fcntl.flock(build, fcntl.LOCK_SH)

        def wait(text: str) -> None:
            said.append(text)
            fcntl.flock(build, fcntl.LOCK_UN)

        with prune.alone(wait):
            assert len(said) == 1
    assert left.exists()
    assert cli.main(["prune", "--dry-run", "--keep", "0"]) == 0
    assert left.exists()
    assert cli.main(["prune", "--keep", "0"]) == 0
    assert not left.exists()
    assert "1 B removed" in capsys.readouterr().out


def test_doctor_speaks_of_it_only_where_a_first_start_would_find_room_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack("local", Site(tmp_path))
    for size, said in ((9 * 2**30, ""), (11 * 2**30, "11.8 GB of former images and tools can go")):
        item = Item("images/redis", size, lambda: True)
        monkeypatch.setattr(prune, "find", lambda *_, found=item: [found])
        assert doctor.room(stack) == said
