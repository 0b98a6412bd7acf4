"""Copies away from the machine: what may be asked for, what follows from it, when one is due, what a clock may do."""

from __future__ import annotations

import configparser
import dataclasses
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.backup import copy, manifest, schedule
from app.backup.command import Exited
from app.backup.target import refusal
from infra import away, config, credentials
from infra.catalog.model import Zone
from infra.components import certificate
from infra.errors import MaiaError
from infra.plan import Plan
from infra.render import render
from infra.site import Site
from infra.stack import Stack
from tests.unit.test_backup import NOON, ago, made

Planned = Callable[..., Plan]
ROOTS, _ = certificate.authority("private")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXu0MrnUcnTf1HBTRkYF2lLXuKFFi5uMJGVdDbGJ0pE"


def s3(**more: Any) -> dict[str, Any]:
    return {"s3": {"endpoint": "https://s3.example.org", "bucket": "points", "key_id": "AK1"} | more}


def ssh(**more: Any) -> dict[str, Any]:
    place = {"host": "keeper.example.org", "user": "maia", "path": "/srv/points", "host_key": HOST_KEY}
    return {"ssh": place | more}


def asking(**copies: Any) -> dict[str, Any]:
    return {"backup": {"copies": copies}}


def text(plan: Plan, path: str) -> str:
    part = plan.container("backup")
    secrets = {name: f"{name}+/=" for name in plan.secrets} | {"recovery": "the recovery key"}
    return render(next(file for file in part.files if file.path == path), plan, part, secrets)


# -- what may be asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "where", "says"),
    [
        ({}, "", "give either s3 or ssh"),
        (s3() | ssh(), "", "give either s3 or ssh"),
        (s3(endpoint="http://s3.example.org"), ".s3.endpoint", "expected an https address"),
        (s3(endpoint="https://s3.example.org/points"), ".s3.endpoint", "expected an https address without a path"),
        (s3(endpoint="https://me:x@s3.example.org"), ".s3.endpoint", "expected an https address without a path"),
        (s3(endpoint="https://"), ".s3.endpoint", "expected an address such as https://s3.example.org"),
        (s3(bucket="No"), ".s3.bucket", "string should match pattern"),
        (s3(prefix="../other"), ".s3.prefix", "string should match pattern"),
        (s3(key_id="a\nb = c"), ".s3.key_id", "string should match pattern"),
        (s3(roots="none"), ".s3.roots", "expected certificates in PEM"),
        (s3(secret="x"), ".s3.secret", "unknown key"),
        (ssh(host="keeper.example.org -o x"), ".ssh.host", "string should match pattern"),
        (ssh(user="-oProxyCommand=x"), ".ssh.user", "string should match pattern"),
        (ssh(path="points"), ".ssh.path", "string should match pattern"),
        (ssh(path="/srv/../etc"), ".ssh.path", "string should match pattern"),
        (ssh(host_key="keeper ssh-ed25519 AAAA"), ".ssh.host_key", "string should match pattern"),
        (s3() | {"every": 0}, ".every", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_a_copy_is_refused_by_key(asked: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(MaiaError, match=says) as refused:
        config.parse("local", {"maia:backup": {"copies": {"offsite": asked}}})
    assert refused.value.where == f"maia:backup.copies.offsite{where}"


def test_a_copy_needs_the_way_out(planned: Planned) -> None:
    with pytest.raises(MaiaError, match="backup needs exit"):
        planned(asking(offsite=s3()) | {"parts": {"exit": {"enabled": False}}})


# -- what follows in the plan -------------------------------------------------------------------------------------


def test_without_copies_the_part_has_no_way_out(planned: Planned) -> None:
    plan = planned()
    assert not plan.grants
    assert "exit" not in plan.container("backup").addresses
    assert "HTTPS_PROXY" not in plan.container("backup").env


def test_each_target_is_opened_to_the_part_and_nothing_else(planned: Planned) -> None:
    plan = planned(asking(bucket=s3(endpoint="https://10.1.2.3:9000"), host=ssh(port=2222)))
    assert [(grant.part, str(grant.endpoint)) for grant in plan.grants] == [
        ("backup", "10.1.2.3:9000"),
        ("backup", "keeper.example.org:2222"),
    ]
    assert plan.container("backup").addresses[Zone.EXIT]
    assert "exit" in plan.container("backup").after
    assert "backup-copy-bucket" in plan.container("backup").secrets
    assert "backup-copy-host" not in plan.secrets


def test_secrets_of_copies_are_in_secret_files_alone(planned: Planned) -> None:
    plan = planned(asking(bucket=s3(), other=s3(key_id="AK2", roots=ROOTS), host=ssh()))
    found = configparser.ConfigParser()
    found.read_string(text(plan, "/run/secrets/aws"))
    assert {name: dict(found[name]) for name in found.sections()} == {
        "bucket": {"aws_access_key_id": "AK1", "aws_secret_access_key": "backup-copy-bucket+/="},
        "other": {"aws_access_key_id": "AK2", "aws_secret_access_key": "backup-copy-other+/="},
    }
    assert text(plan, "/etc/maia/roots.pem") == ROOTS
    assert text(plan, "/etc/maia/known_hosts") == f"host {HOST_KEY}\n"
    told = json.loads(text(plan, "/etc/maia/backup.json"))["copies"]
    assert [each["repository"] for each in told] == [
        "s3:https://s3.example.org/points",
        "sftp:host:/srv/points",
        "s3:https://s3.example.org/points",
    ]
    assert [each["private"] for each in told] == [False, False, True]


def test_ssh_meets_its_host_through_the_proxy_by_the_pinned_key_alone(planned: Planned, tmp_path: Path) -> None:
    """As ssh itself reads it."""
    (tmp_path / "config").write_text(text(planned(asking(host=ssh(port=2222))), "/etc/maia/ssh_config"))
    told = subprocess.run(
        ["ssh", "-G", "-F", tmp_path / "config", "host"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {
        "hostname keeper.example.org",
        "port 2222",
        "user maia",
        "hostkeyalias host",
        "proxycommand nc -X connect -x exit:3128 %h %p",
        "stricthostkeychecking true",
        "userknownhostsfile /etc/maia/known_hosts",
        "globalknownhostsfile /dev/null",
        "identityfile /run/secrets/ssh",
        "identitiesonly yes",
        "batchmode yes",
    } <= set(told)


def test_the_key_of_ssh_follows_from_the_recovery_key(tmp_path: Path) -> None:
    seed = credentials.derived("the recovery key", "ssh")
    key = credentials.ssh_key(seed)
    assert key == credentials.ssh_key(seed) != credentials.ssh_key(credentials.derived("another", "ssh"))
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    told = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key", "-noout", "-text"], capture_output=True, text=True
    )
    assert told.stdout.startswith("ED25519 Private-Key")


def test_an_owners_file_names_one_copy_in_the_words_of_the_stack_file(tmp_path: Path) -> None:
    file = tmp_path / "copy.yaml"
    file.write_text(json.dumps({"offsite": s3()}))
    source = away.of_file(file, "key", "secret")
    assert (source.name, source.asked.s3 and source.asked.s3.bucket) == ("offsite", "points")
    assert "secret" not in repr(source)
    with pytest.raises(MaiaError, match="its secret key is needed too"):
        away.of_file(file, "key", "")
    for wrong in ("- 1", "offsite: [", json.dumps({"a": s3(), "b": s3()})):
        file.write_text(wrong)
        with pytest.raises(MaiaError, match=r"expected one copy|not YAML"):
            away.of_file(file, "key", "secret")
    file.write_text(json.dumps({"offsite": s3(bukket="x")}))
    with pytest.raises(MaiaError, match="unknown key"):
        away.of_file(file, "key", "secret")


# -- when one is due, and what a clock may do ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("succeeded", "tried", "news", "expected"),
    [
        pytest.param(None, None, False, True, id="none was ever tried"),
        pytest.param(ago(minutes=5), ago(minutes=6), False, False, id="it has just been brought over"),
        pytest.param(ago(minutes=14), ago(minutes=15), False, True, id="the time has come"),
        pytest.param(ago(minutes=5), ago(minutes=6), True, True, id="there is a new point"),
        pytest.param(ago(minutes=30), ago(minutes=6), True, False, id="the last try failed"),
        pytest.param(None, ago(minutes=6), True, False, id="the first try failed"),
        pytest.param(ago(minutes=60), ago(minutes=16), True, True, id="it failed a while ago"),
        pytest.param(ago(days=-400), ago(days=-400), False, True, id="the clock was set back"),
    ],
)
def test_a_copy_is_due_by_its_minutes_and_after_a_point(
    succeeded: float | None, tried: float | None, *, news: bool, expected: bool
) -> None:
    assert schedule.copy_due(15, NOON, succeeded, tried, news=news) is expected


def at(moment: datetime, timeline: int = 1, lsn: str = "0/1") -> manifest.Manifest:
    point = made()
    where = dataclasses.replace(point.postgres, timeline=timeline, lsn=lsn)
    return dataclasses.replace(point, id=manifest.new_id(moment), moment=moment.isoformat(), postgres=where)


def test_the_newest_point_is_the_last_one_made_whatever_the_clock_said() -> None:
    ahead = at(NOON + timedelta(days=400), lsn="0/FF000000")
    after = at(NOON, lsn="1/2")
    restored = at(NOON - timedelta(days=1), timeline=2, lsn="0/3")
    found = sorted((restored, ahead, after), key=lambda each: each.place)
    assert found == [ahead, after, restored]


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        pytest.param([400], False, id="the only one"),
        pytest.param([403, 402, 401, 0], True, id="the clock has jumped ahead, or the machine was off"),
        pytest.param([403, 402, 1, 0], False, id="by the next point it is believed"),
        pytest.param([20, 15, 1, 0], False, id="as every day"),
        pytest.param([3, 2, -400, 0], False, id="a point from when the clock was ahead"),
    ],
)
def test_a_clock_that_jumps_ahead_takes_no_point_away(ages: list[int], *, expected: bool) -> None:
    points = [at(NOON - timedelta(days=age)) for age in ages]
    assert manifest.jumped(points, NOON - timedelta(days=14)) is expected


def test_the_newest_state_at_a_target_is_the_last_by_time_after_the_clock_was_set_back() -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    assert copy._next({"time": ahead.isoformat()}) == ahead + timedelta(seconds=1)
    before = datetime.now(UTC)
    assert before <= copy._next({"time": NOON.isoformat()}) <= datetime.now(UTC)


# -- what went wrong, in one line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("ERR_CONNECT_FAIL 111", "Connection refused"),
        ("ERR_CONNECT_FAIL 113", "No route to host"),
        ("ERR_DNS_FAIL 0", "no such host"),
        ("ERR_ACCESS_DENIED 0", "the exit proxy does not let it through"),
        ("", ""),
    ],
)
def test_the_proxys_word_for_an_error_is_told_in_ours(told: str, says: str) -> None:
    assert refusal(told) == says


def test_what_restic_says_is_told_in_one_line() -> None:
    lines = ["retrying", "Fatal: unable to open config file: Stat: the signature is wrong", "Is there a repository?"]
    assert copy._reason(Exited("restic backup", 1, lines)) == "Stat: the signature is wrong"
    line = json.dumps({"message_type": "exit_error", "code": 1, "message": "Fatal: no space left on device\nIs it?"})
    assert copy._reason(Exited("restic backup", 1, [line])) == "no space left on device"
    lines = [
        json.dumps({"message_type": "error", "error": {"message": "a file is too short"}, "item": "/a"}),
        json.dumps({"message_type": "exit_error", "code": 1, "message": "Fatal: There were 2 errors\n"}),
    ]
    assert copy._reason(Exited("restic restore", 1, lines)) == "There were 2 errors: a file is too short"
    lines = ["subprocess ssh: maia@keeper: Permission denied", "Fatal: unable to start the sftp session"]
    assert copy._reason(Exited("restic snapshots", 1, lines)) == "maia@keeper: Permission denied"
    lines = ["Stat(<config/0>) returned error, retrying after 5.1s: the signature does not match"]
    assert copy._reason(Exited("restic snapshots", -9, lines)) == "the signature does not match"
    assert "another stack's" in copy._reason(Exited("restic snapshots", copy.WRONG_KEY, ["Fatal: wrong password"]))
    assert copy._reason(Exited("restic x", 1, [])) == "restic x: exit code 1"


# -- folders -------------------------------------------------------------------------------------------------------


def test_second_names_are_of_whole_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "ARCHIVE", tmp_path)
    for name in ("postgres/a", "postgres/b.pgbackrest.tmp", "restic/data/c", "restic/data/d-tmp-12", "other/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    still = tmp_path / f"{copy.STILL}offsite"
    for _ in range(2):
        copy._name_again(still)
        assert {str(path.relative_to(still)) for path in still.rglob("*") if path.is_file()} == {
            "postgres/a",
            "restic/data/c",
        }
    assert (still / "postgres" / "a").stat().st_ino == (tmp_path / "postgres" / "a").stat().st_ino
    (tmp_path / "postgres" / "a").unlink()
    assert (still / "postgres" / "a").read_text() == "postgres/a", "what expires meanwhile is still sent"
    copy.clear()
    assert not still.exists()
    assert (tmp_path / "restic" / "data" / "c").exists()


def test_what_was_fetched_becomes_the_archive_of_a_new_stack_and_of_no_other(tmp_path: Path) -> None:
    stack = Stack("local", Site(tmp_path / "site"))
    fetched, disk = stack.site.fetched("local"), tmp_path / "disk"

    def fetch() -> None:
        fetched.mkdir(parents=True, exist_ok=True)
        (fetched / "point").touch()

    fetch()
    with pytest.raises(MaiaError, match="is not there"):
        away.settle(stack, fetched, str(disk))
    assert fetched.exists()
    assert away.settle(stack, fetched, "") == stack.site.archive("local")
    assert (stack.site.archive("local") / "point").exists()
    assert not fetched.exists()
    fetch()
    assert away.settle(stack, fetched, "") == fetched, "there are points already"
    (disk / "local").mkdir(parents=True)
    assert away.settle(stack, fetched, str(disk)) == disk / "local"
    assert (disk / "local" / "point").exists()
