"""Drills of a real stack: the newest point comes back beside it, is compared and checked, and leaves only evidence."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

import docker
import pytest

from infra import drill
from tests.conftest import Appliance, small
from tests.processes import kill_all
from tests.system.mutations import until
from tests.system.test_backup import ROWS, beside, furnish, redis, sql


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack with data in Postgres, Redis and the object store, and a point of it."""
    with small(tmp_path_factory.mktemp("drill") / "site") as made:
        made.disable("prometheus", "status", "postgres-exporter", "redis-exporter")
        made.write()
        furnish(made)
        yield made


@pytest.fixture
def side(third: Appliance) -> Appliance:
    """The stack that a drill makes."""
    return beside(third, drill.side(third.name))


def results(third: Appliance) -> list[Path]:
    return sorted(drill.folder(third.site, third.name).glob("*.json"))


def told(third: Appliance) -> dict[str, float]:
    """What the backup part tells Prometheus of drills."""
    script = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    container: Any = docker.from_env().containers.get(f"maia-{third.name}-backup")
    lines = container.exec_run(["python3", "-c", script]).output.decode().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if line.startswith("maia_backup_"))}


def nothing_left(side: Appliance) -> bool:
    locks = [side.site.drilling(side.name), side.site.unfinished(side.name), side.site.lock(side.name)]
    folders = [side.site.archive(side.name), side.site.evidence(side.name), side.site.restoring(side.name)]
    return side.leftovers() == [] and not [path for path in locks + folders if path.exists()]


def test_what_the_archive_lacks_is_as_old_as_its_oldest_commit(third: Appliance) -> None:
    def job(word: str) -> Any:
        command = ["docker", "exec", f"maia-{third.name}-backup", "python3", "-m", "app.backup", word]
        said = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
        return json.loads(said[-1])["result"]

    sql(third, "postgres", "create table clinic.late (n int)")
    first = job("behind")
    assert first > 0
    until(lambda: job("behind") > first, "it grows while nothing is archived")
    job("flush")
    assert job("behind") == 0


def test_a_stack_that_never_drilled_is_within_its_grace_and_says_so(third: Appliance) -> None:
    done = third.maia("check", "-k", "drill", "--all")
    assert "none was made yet" in done.stdout
    assert "none has gone well yet, and until" in done.stdout
    assert "maia_backup_last_drill_timestamp_seconds" not in told(third)


def test_a_stack_of_the_owners_that_has_the_name_is_left_alone(third: Appliance, side: Appliance) -> None:
    own = side.site.stack_file(side.name)
    own.write_text("config:\n  maia:version: 1\n")
    done = third.maia("drill", check=False)
    assert done.returncode == 1
    assert f"{side.name}: is a stack of yours" in done.stderr
    assert own.read_text() == "config:\n  maia:version: 1\n"
    own.unlink()


def test_the_next_drill_clears_what_a_killed_one_left_and_is_green_while_the_stack_serves(
    third: Appliance, side: Appliance
) -> None:
    with third.start("drill") as running:
        assert running.stdout
        # What is under way is told once a second: on a quick machine one of the two may be missed.
        next(line for line in running.stdout if "creating Container" in line or "creating Started" in line)
        kill_all(running)
    assert [left for left in side.leftovers() if left.startswith("volume")]
    assert results(third) == [], "a drill that was broken off says nothing"

    with ThreadPoolExecutor(1) as aside:
        drilled = aside.submit(third.maia, "drill")
        answers = 0
        while not done(drilled):
            assert sql(third, "postgres", 'select count(*) from clinic."Visit"') == [(ROWS,)]
            assert redis(third).get("session:1") == "kept"
            answers += 1
        said = drilled.result().stdout
    assert answers > 10
    assert "are what its manifest says" in said
    assert nothing_left(side)

    found = json.loads(results(third)[-1].read_text())
    assert found["green"]
    assert found["compared"]["rows"] > ROWS
    assert found["compared"]["objects"]["files"] > 0
    assert found["checks"]["passed"] > 100
    assert found["rto_seconds"] > 0
    assert found["rpo_seconds"] >= 0
    known = told(third)
    assert known["maia_backup_drill_failing"] == 0
    assert known["maia_backup_drill_rto_seconds"] == found["rto_seconds"]
    assert known["maia_backup_drill_due_timestamp_seconds"] == known["maia_backup_last_drill_timestamp_seconds"] + (
        32 * 86400
    )
    assert "2 passed" in third.maia("check", "-k", "drill").stdout


def done(future: Future[Any]) -> bool:
    """Whether it is, looked at for a moment."""
    try:
        future.result(timeout=0.2)
    except NotYet:
        return False
    return True


def test_evidence_that_was_touched_is_refused(third: Appliance, tmp_path: Path) -> None:
    path = results(third)[-1]
    assert (
        f"genuine: drill {path.stem} of the stack {third.name}, green"
        in third.maia("drill", "--verify", str(path)).stdout
    )
    copy = tmp_path / path.name
    copy.with_suffix(".sig").write_bytes(path.with_suffix(".sig").read_bytes())
    copy.write_text(path.read_text().replace('"rpo_seconds": ', '"rpo_seconds": 0'))
    refused = third.maia("drill", "--verify", str(copy), check=False)
    assert refused.returncode == 1
    assert "not genuine" in refused.stderr


def test_one_flipped_byte_in_the_archive_makes_the_drill_red(third: Appliance, side: Appliance) -> None:
    folder = third.site.archive(third.name) / "postgres" / "backup"
    path = max((each for each in folder.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    original, mode = path.read_bytes(), path.stat().st_mode & 0o777
    content = bytearray(original)
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    try:
        red = third.maia("drill", check=False)
    finally:
        path.write_bytes(original)
        path.chmod(mode)
    assert red.returncode == 1
    assert f"maia: drill {results(third)[-1].stem}: red: " in red.stderr.splitlines()[-1]
    assert nothing_left(side)
    found = json.loads(results(third)[-1].read_text())
    assert not found["green"]
    assert found["error"]
    assert "red, signed" in third.maia("drill", "--verify", str(results(third)[-1])).stdout
    known = told(third)
    assert known["maia_backup_drill_failing"] == 1
    assert known["maia_backup_drill_rto_seconds"] > 0, "of the last one that went well"
    checked = third.maia("check", "-k", "drill", check=False)
    assert checked.returncode == 1
    assert "drill[backup-good]" in checked.stdout


def test_destroy_removes_what_a_killed_drill_left(third: Appliance, side: Appliance) -> None:
    with third.start("drill") as running:
        assert running.stdout
        next(line for line in running.stdout if "restore: postgres: files" in line)
        kill_all(running)
    assert side.leftovers()
    third.maia("destroy", "--yes", third.name)
    assert nothing_left(side)
    assert third.leftovers() == []
