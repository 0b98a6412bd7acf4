"""Drills: the stack they are made in, what they say, how it is proven, and when the next one is due."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.backup import metrics, reach, schedule, status
from app.backup.care import Care
from app.backup.guard import Guard
from app.backup.places import Settings
from app.backup.schedule import DAY
from app.backup.wal import Shipper
from infra import config, drill, recovery, signature, timer
from infra.cli import main
from infra.drill import Drill
from infra.errors import MaiaError
from infra.site import REPO, Site

NOW = 1_800_000_000.0
SECRET = "a-secret-of-the-tests-alone"


@pytest.mark.parametrize("stack", ["local", "a", "ten-letter", "sixteen-letters-", "eleven-lett"])
def test_the_stack_of_a_drill_has_a_name_that_a_stack_may_have(stack: str) -> None:
    assert config.parse(drill.side(stack), {})
    assert drill.side(stack).endswith("-drill")
    assert drill.side(stack) != stack


def test_long_names_that_begin_alike_have_drills_of_their_own() -> None:
    assert drill.side("production-north") != drill.side("production-south")


@pytest.mark.parametrize(
    ("days", "succeeded", "began", "expected"),
    [
        pytest.param(31, NOW - DAY, NOW - 90 * DAY, NOW + 31 * DAY, id="from the last one"),
        pytest.param(31, None, NOW - DAY, NOW + 31 * DAY, id="the grace of a fresh appliance"),
        pytest.param(31, NOW + DAY, NOW - 2 * DAY, NOW + 30 * DAY, id="the clock was set back"),
        pytest.param(7, None, None, NOW + 8 * DAY, id="nothing is known"),
        pytest.param(0, NOW - DAY, NOW - DAY, None, id="none is wanted"),
    ],
)
def test_a_drill_is_due_some_days_after_the_last_good_one(
    days: int, succeeded: float | None, began: float | None, expected: float | None
) -> None:
    assert schedule.drill_due(days, NOW, succeeded, began) == expected


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory of the backup part that is empty."""
    monkeypatch.setattr(status, "STATUS", tmp_path / "status.json")
    monkeypatch.setattr(status, "STATUS_LOCK", tmp_path / "status.lock")
    return tmp_path


def test_a_red_drill_keeps_the_times_of_the_last_green_one(remembered: Path) -> None:
    status.drilled(error="", rto=60.5, rpo=2.0)
    good = status.read()["drill_succeeded"]
    status.drilled(error="a byte differs", rto=1.0, rpo=9.0)
    known = status.read()
    assert (known["drill_error"], known["drill_rto"], known["drill_rpo"]) == ("a byte differs", 60.5, 2.0)
    assert known["drill_succeeded"] == good


def test_since_when_points_are_looked_after_is_remembered_once(remembered: Path) -> None:
    status.begin()
    began = status.read()["began"]
    status.begin()
    assert status.read()["began"] == began


def test_prometheus_is_told_how_the_last_drill_ended(remembered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ARCHIVE", remembered)
    monkeypatch.setattr("app.backup.places.same_disk", lambda: False)
    monkeypatch.setattr("app.backup.wal.SPOOL", remembered)
    monkeypatch.setattr("app.backup.guard.POSTGRES", remembered / "data")
    settings = Settings(stack="local", at="", days=14, drill=31, references=(), objects=True, redis=True, reserve=0)
    registry = metrics.registry(Shipper(), Guard(0), Care(), settings)
    assert registry.get_sample_value("maia_backup_last_drill_timestamp_seconds") is None
    status.drilled(error="", rto=60.5, rpo=2.0)
    assert registry.get_sample_value("maia_backup_drill_failing") == 0
    assert registry.get_sample_value("maia_backup_drill_rto_seconds") == 60.5
    assert registry.get_sample_value("maia_backup_drill_rpo_seconds") == 2
    made = registry.get_sample_value("maia_backup_last_drill_timestamp_seconds")
    assert made
    assert registry.get_sample_value("maia_backup_drill_due_timestamp_seconds") == made + 32 * DAY
    status.drilled(error="a byte differs", rto=1.0, rpo=9.0)
    assert registry.get_sample_value("maia_backup_drill_failing") == 1
    unwanted = metrics.registry(Shipper(), Guard(0), Care(), replace(settings, drill=0))
    assert unwanted.get_sample_value("maia_backup_drill_due_timestamp_seconds") is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("rmgr: Transaction tx: 735, lsn: 0/0150B7F8, desc: COMMIT 2026-11-23 09:00:00.123456 UTC", True),
        ("… desc: COMMIT_PREPARED 735: 2026-11-23 09:00:00.123456 UTC; inval msgs: catcache 21", True),
        ("… desc: ABORT 2026-11-23 09:00:00.123456 UTC", False),
    ],
)
def test_only_a_commit_is_something_to_lose(line: str, *, found: bool) -> None:
    assert bool(reach.COMMIT.search(line)) is found


def made(**changes: Any) -> Drill:
    tables = {"clinic.visit": {"rows": 7, "digest": "9"}}
    manifest = {
        "id": "20260301T120000Z",
        "moment": "m",
        "release": "0.1.0",
        "plan": "p",
        "images": {},
        "postgres": {"databases": {"postgres": {"tables": tables, "sequences": {}}}},
        "objects": {"files": 3, "bytes": 5, "tree": "t", "snapshot": "s", "added": 1},
    }
    found = Drill("local", 1.25, manifest=manifest, restored={"differs": []}, checks={"passed": 9})
    found.ended = found.began + timedelta(seconds=61)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_a_green_drill_says_what_was_compared_and_how_long_it_took() -> None:
    document = made().document()
    assert document["green"]
    assert document["compared"] == {
        "databases": 1,
        "tables": 1,
        "rows": 7,
        "objects": {"files": 3, "bytes": 5, "tree": "t"},
    }
    assert (document["rto_seconds"], document["rpo_seconds"]) == (61.0, 1.2)
    assert set(document["meaning"]) == {"rto_seconds", "rpo_seconds"}


@pytest.mark.parametrize(
    "changes",
    [
        {"error": "the archive of Postgres is damaged"},
        {"restored": {"differs": ["postgres: clinic.visit"]}},
        {"failed": [{"check": "backup[backup-good]", "controls": [], "reason": "r"}]},
        {"error": "broken before it knew the point", "manifest": {}, "restored": {}, "ended": None},
    ],
)
def test_a_drill_is_red_for_anything_that_is_not_as_it_was(changes: dict[str, Any]) -> None:
    found = made(**changes)
    assert found.wrong
    assert not found.document()["green"]
    assert found.document()["rto_seconds"] is None


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "drills" / f"{made().id}.json"
    signature.sign(path, made().document(), signature.private(SECRET))
    return path


def test_a_signed_result_is_genuine_with_its_key_alone(signed: Path) -> None:
    key = signature.private(SECRET).public_key()
    assert signature.verify(signed, key)["compared"]["rows"] == 7
    assert signature.read_key(signed.parent / f"{signature.name(key)}.pub") == key
    with pytest.raises(MaiaError, match=r"not genuine: .* with the key"):
        signature.verify(signed, signature.private("another-secret").public_key())


def test_a_result_that_was_touched_renamed_or_parted_from_its_signature_is_refused(signed: Path) -> None:
    key = signature.private(SECRET).public_key()
    text = signed.read_text()
    signed.write_text(text.replace('"rows": 7', '"rows": 8'))
    with pytest.raises(MaiaError, match="not genuine"):
        signature.verify(signed, key)
    signed.write_text(text)
    for file in (signed, signed.with_suffix(".sig")):
        shutil.copy(file, file.with_stem("20300101T000000Z"))
    with pytest.raises(MaiaError, match="it is the file of"):
        signature.verify(signed.with_stem("20300101T000000Z"), key)
    signed.with_suffix(".sig").unlink()
    with pytest.raises(MaiaError, match=r"keep \.json and \.sig together"):
        signature.verify(signed, key)


def test_openssl_says_the_same_of_it(signed: Path) -> None:
    public = next(signed.parent.glob("*.pub"))
    command: list[str | Path] = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", signed]
    command += ["-sigfile", signed.with_suffix(".sig")]
    assert subprocess.run(command, capture_output=True).returncode == 0
    signed.write_text(signed.read_text() + " ")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_the_command_verifies_with_a_public_key_where_no_stack_is(
    signed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIA_SITE", str(signed.parent / "nowhere"))
    public = next(signed.parent.glob("*.pub"))
    assert main(["drill", "--verify", str(signed), "--key", str(public)]) == 0
    assert "genuine: drill " in capsys.readouterr().out
    signed.write_text(json.dumps(json.loads(signed.read_text()) | {"green": True}))
    assert main(["drill", "--verify", str(signed), "--key", str(public)]) == 1
    assert "not genuine" in capsys.readouterr().err
    assert main(["drill", "--verify", str(signed), "--key", str(signed)]) == 1
    assert "holds no public Ed25519 key" in capsys.readouterr().err
    assert main(["drill", "--key", str(public)]) == 1


SERVED: dict[str, Any] = {"hosts": {"one": {"address": "192.0.2.10"}}, "on": "one"}


def test_a_stack_beside_has_no_schedule_no_certificate_from_outside_and_sends_no_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_subnets", lambda: {"10.70.0.0/24"})  # Docker's, and there may be none here
    asked = {"names": ["maia.example.org"], "acme": {"directory": "https://acme.example.org/directory"}}
    accounts = {"signup": False, "smtp": {"host": "smtp.example.org", "sender": "no-reply@example.org"}}
    given = {"gateway": asked, "egress": {"exit": []}, "backup": {"folder": "/mnt", "drill": 7}} | SERVED
    given |= {"parts": {"auth": {"enabled": True}}, "auth": accounts}
    found = recovery.beside(given)
    parsed = config.parse("look", {f"maia:{key}": value for key, value in found.items()})
    assert (parsed.backup.at, parsed.backup.drill, parsed.backup.folder) == (None, None, None)
    assert parsed.gateway.acme is None
    assert parsed.egress == {}
    assert parsed.auth and (parsed.auth.signup, parsed.auth.smtp) == (False, None), "mail is sent by one of them"
    assert accounts["smtp"], "what was given is as it was"
    assert str(parsed.subnet) == "10.71.0.0/20"
    assert (parsed.on, parsed.hosts) == (None, {}), "a server is one stack's"


def test_a_stack_of_a_server_that_comes_back_here_leaves_its_servers_behind() -> None:
    gateway = {"names": ["maia.example.org"], "address": "192.0.2.10"}
    assert recovery.here({"gateway": gateway, "version": 1} | SERVED) == {
        "gateway": {"names": ["maia.example.org"]},
        "version": 1,
    }
    kept = {"gateway": gateway, "hosts": SERVED["hosts"]}
    assert recovery.here(kept) == kept, "its parts were here, and its servers are others"


# -- the timer ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the units go, on a machine without systemd."""
    found = tmp_path / "units"
    found.mkdir()
    monkeypatch.setattr(timer, "FOLDER", found)
    monkeypatch.setattr(timer, "SYSTEMD", tmp_path / "none")
    return found


@pytest.mark.parametrize("every", ["weekly", "monthly"])
def test_systemd_understands_the_units(tmp_path: Path, every: str) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    site = Site(tmp_path / 'a "site" of 100% with spaces')
    for file, text in timer.units("local", site, every).items():
        (tmp_path / file).write_text(text)
    files = sorted(tmp_path.glob("maia-drill-local.*"))
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    assert "maia-drill" not in said.stderr, said.stderr
    when = timer.WHEN[every]
    assert subprocess.run(["systemd-analyze", "calendar", when], capture_output=True).returncode == 0


def test_the_service_finds_by_itself_what_the_verb_found(tmp_path: Path) -> None:
    service = timer.units("local", Site(tmp_path / "50% of it"), "weekly")["maia-drill-local.service"]
    assert f'Environment="MAIA_SITE={tmp_path}/50%% of it"' in service
    assert f'ExecStart="{REPO}/maia" "drill" "--stack" "local"' in service
    for name in ("HOME", "PATH", "MAIA_CACHE"):
        assert f'Environment="{name}=/' in service


def test_without_systemd_the_line_for_the_crontab_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MaiaError, match=r"systemd is not the first process here \(put this into root's crontab: 0 4 "):
        timer.install("local", Site(tmp_path), "weekly")
    assert list(folder.iterdir()) == []
    line = timer.crontab("local", Site(tmp_path / "50%"), "monthly")
    assert line.startswith("0 4 1 * * HOME=")
    assert f"MAIA_SITE={tmp_path}/50\\% " in line
    assert line.endswith(f"{REPO}/maia drill --stack local")


def test_a_timer_of_another_site_is_left_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Site(tmp_path / "ours"), Site(tmp_path / "theirs")
    for file, text in timer.units("local", theirs, "weekly").items():
        (folder / file).write_text(text)
    assert timer.remove("local", ours) is False
    monkeypatch.setattr(timer, "SYSTEMD", folder)
    with pytest.raises(MaiaError, match="drills the stack of that name in another site"):
        timer.install("local", ours, "weekly")
    monkeypatch.setattr(timer, "SYSTEMD", tmp_path / "none")
    assert timer.remove("local", theirs) is True
    assert list(folder.iterdir()) == []
