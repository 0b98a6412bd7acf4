"""The archive a second time, away from the machine: at a real S3 service and a real SSH host, and back from there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
import yaml
from docker.models.containers import Container

import checks
from infra.catalog.model import Zone
from infra.plan import EXIT_PORT, EXIT_PROXY
from infra.site import REPO
from tests import away, clients
from tests.conftest import Appliance, small
from tests.system.mutations import until

ROWS = 5_000
CREATE = f"create table visits as select n, md5(n::text) as note from generate_series(1, {ROWS}) n"
ABSENT = ("minio", "s3", "redis", "redis-exporter", "postgres-exporter", "prometheus", "status")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> away.S3:
    return away.s3(tmp_path_factory.mktemp("s3"))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[away.Ssh]:
    with away.ssh(tmp_path_factory.mktemp("ssh")) as host:
        yield host


@dataclass(frozen=True)
class Disk:
    """A disk for the folder of points."""

    folder: Path

    def room(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    @property
    def used(self) -> int:
        """KiB."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m,mode=0755", "none", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory, s3: away.S3, host: away.Ssh, disk: Disk) -> Iterator[Appliance]:
    """A small stack with one table, a point of it, and two copies that were asked for; S3 is not there yet."""
    with small(tmp_path_factory.mktemp("copies") / "site") as made:
        made.values["parts"].pop("exit")
        made.disable(*ABSENT)
        # The schedule stays out of the way: only the first run of each copy is its own.
        made.write({"backup": backup(disk, bucket=s3.asked(), host=host.asked())})
        give(made, "backup-copy-bucket", away.SECRET)
        made.maia("up", "--skip-checks")
        sql(made, CREATE)
        yield made


def backup(disk: Disk, **copies: Any) -> dict[str, Any]:
    return {"folder": str(disk.folder), "at": None, "copies": copies}


def give(made: Appliance, name: str, value: str) -> str:
    done = subprocess.run(
        [REPO / "maia", "secrets", "set", name], env=made.environment, input=value, text=True, capture_output=True
    )
    return done.stdout + done.stderr


def sql(made: Appliance, statement: str) -> list[Any]:
    socket = str(made.site.sockets(made.name) / "postgres")
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as link:
        done = link.execute(statement.encode())
        return done.fetchall() if done.description else []


def digest(made: Appliance) -> Any:
    return sql(made, "select count(*), md5(string_agg(note, ',' order by n)) from visits")


def part(made: Appliance, name: str = "backup") -> Container:
    return docker.from_env().containers.get(f"maia-{made.name}-{name}")


def job(made: Appliance, *words: str) -> dict[str, Any]:
    """The last word of a job in the running part."""
    output: Any = part(made).exec_run(["python3", "-m", "app.backup", *words]).output
    found: dict[str, Any] = json.loads(output.decode().splitlines()[-1])
    return found


@contextmanager
def shortened(path: Path) -> Iterator[None]:
    """The file cut short, and whole again."""
    content, stat = path.read_bytes(), path.stat()
    path.chmod(0o600)
    path.write_bytes(content[: len(content) // 2])
    try:
        yield
    finally:
        path.write_bytes(content)
        path.chmod(stat.st_mode & 0o777)


def entry(path: Path, name: str, asked: dict[str, Any]) -> str:
    """A file as an owner would keep it, with the copy's entry."""
    path.write_text(yaml.safe_dump({name: asked}))
    return str(path)


def test_the_secret_of_a_copy_is_asked_for_and_refused_where_it_can_be_none(third: Appliance) -> None:
    assert "no secret key of S3" in give(third, "backup-copy-bucket", "a b")
    assert "not made here" in third.maia("secrets", "rotate", "backup-copy-bucket", check=False).stderr
    assert away.SECRET not in third.site.stack_file(third.name).read_text()


def test_a_target_that_is_not_there_or_refuses_is_told_and_the_point_is_made(
    third: Appliance, s3: away.S3, host: away.Ssh
) -> None:
    done = third.maia("backup", check=False)
    assert done.returncode == 1
    assert re.search(r"^point: .*\(full\)", done.stdout, re.MULTILINE)
    assert f"copy bucket: {s3.address}:{s3.port}: Connection refused" in done.stdout
    assert f"copy host: {away.USER}@{host.address}: Permission denied (publickey)" in done.stdout
    told = third.maia("status", check=False).stdout
    assert f"copy: bucket: https://{s3.address}:{s3.port}/{away.BUCKET}, not brought over yet: " in told
    assert re.search(r"^copy: by SSH with the key that a host must let in: ssh-ed25519 \S+ maia-", told, re.MULTILINE)


@pytest.fixture(scope="module")
def keeping(third: Appliance, s3: away.S3, host: away.Ssh) -> Iterator[Appliance]:
    """The same stack with both targets there, and a point that both have."""
    host.let_in(job(third, "copies")["result"]["ssh"])
    with s3.running():
        done = third.maia("backup")
        assert re.search(r"^copy: +bucket has it, ", done.stdout, re.MULTILINE)
        assert re.search(r"^copy: +host has it, ", done.stdout, re.MULTILINE)
        yield third


def test_what_goes_out_goes_through_the_exit_proxy_to_the_targets_alone(
    keeping: Appliance, s3: away.S3, host: away.Ssh
) -> None:
    said = part(keeping, EXIT_PROXY).logs().decode()
    places = [f"{s3.address}:{s3.port}", f"{host.address}:{host.port}"]
    for place in places:
        assert f"part=backup from={keeping.stack.plan.container('backup').addresses[Zone.EXIT]}" in said
        assert f"CONNECT {place}" in said
    pid = int(part(keeping).attrs["State"]["Pid"])
    proxy = keeping.stack.plan.container(EXIT_PROXY).addresses[Zone.EXIT]

    def answer(place: str) -> str:
        with clients.connect(pid, proxy, EXIT_PORT) as link:
            link.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            return link.recv(100).decode().split(" ")[1]

    assert answer(places[0]) == "200"
    for other in (f"{s3.address}:1", f"127.0.0.1:{s3.port}", "s3.example.org:443"):
        assert answer(other) == "403", other


def test_no_secret_of_a_copy_is_in_an_environment_a_log_or_at_the_target(keeping: Appliance, s3: away.S3) -> None:
    running = part(keeping)
    shown = json.dumps(running.attrs) + running.logs().decode() + keeping.stack.plan.json()
    recovery = keeping.secret("recovery")
    assert away.SECRET not in shown
    assert recovery not in shown
    found = s3.objects()
    assert len(found) > 5
    for name, content in found.items():
        assert not [word for word in (recovery.encode(), b"visits", b"archive.info") if word in content], name


def test_a_second_run_sends_only_what_is_new(keeping: Appliance) -> None:
    first = job(keeping, "copy", "bucket")["result"]
    assert first["added"] < 200_000
    sql(keeping, "create table more as select n, md5(n::text) from generate_series(1, 200000) n")
    sql(keeping, "drop table more")
    job(keeping, "flush")
    assert job(keeping, "copy", "bucket")["result"]["added"] > 300_000, "WAL goes too, before the next point"


def test_the_checks_accept_the_copies_and_notice_one_that_failed(keeping: Appliance) -> None:
    def outcomes() -> dict[str, str]:
        result = checks.run(keeping.stack, say=lambda _line: None, keyword="backup")
        return {row.check: row.outcome for row in result.rows}

    assert outcomes() == outcomes() | {"backup[bucket-copied]": "passed", "backup[backup-elsewhere]": "passed"}
    status = "/data/copies/bucket/status.json"
    planted = f'cp {status} /data/kept; sed -i \'s/"copy_error": ""/"copy_error": "planted"/\' {status}'
    assert part(keeping).exec_run(["sh", "-c", planted]).exit_code == 0
    found = outcomes()
    assert part(keeping).exec_run(["mv", "/data/kept", status]).exit_code == 0
    assert [check for check, outcome in found.items() if outcome == "failed"] == ["backup[bucket-copied]"]


def test_the_metrics_tell_each_copy(keeping: Appliance) -> None:
    script = """
from http.client import HTTPConnection
link = HTTPConnection("127.0.0.1", 8000)
link.request("GET", "/metrics")
print(link.getresponse().read().decode())
"""
    done: Any = part(keeping).exec_run(["python3", "-c", script])
    told = done.output.decode()
    for name in ("bucket", "host"):
        assert f'maia_backup_copy_failing{{copy="{name}"}} 0.0' in told
        assert re.search(rf'^maia_backup_copy_last_success_timestamp_seconds{{copy="{name}"}} 1', told, re.MULTILINE)


@pytest.mark.long
def test_a_wrong_secret_or_host_key_is_told_and_what_is_there_stays(
    keeping: Appliance, s3: away.S3, host: away.Ssh, disk: Disk
) -> None:
    kept = job(keeping, "copy", "bucket")
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXu0MrnUcnTf1HBTRkYF2lLXuKFFi5uMJGVdDbGJ0pE"
    try:
        give(keeping, "backup-copy-bucket", "another-secret-of-nobody")
        keeping.write({"backup": backup(disk, bucket=s3.asked(), host=host.asked(host_key=other))})
        keeping.maia("up", "--skip-checks")
        wrong, changed = (job(keeping, "copy", name)["error"] for name in ("bucket", "host"))
        assert "signature" in wrong, wrong
        assert "\n" not in wrong
        assert "Host key verification failed" in changed, changed
    finally:
        give(keeping, "backup-copy-bucket", away.SECRET)
        keeping.write({"backup": backup(disk, bucket=s3.asked(), host=host.asked())})
        keeping.maia("up", "--skip-checks")
    assert job(keeping, "copy", "bucket")["result"]["point"] == kept["result"]["point"]
    host.let_in("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXu0MrnUcnTf1HBTRkYF2lLXuKFFi5uMJGVdDbGJ0pE nobody")
    assert "Permission denied" in job(keeping, "copy", "host")["error"]
    host.let_in(job(keeping, "copies")["result"]["ssh"])
    assert job(keeping, "copy", "host")["result"]["point"]


@pytest.mark.long
def test_a_full_target_is_told_and_goes_on_when_there_is_room(keeping: Appliance, host: away.Ssh) -> None:
    used = int(host.run(f"du -sm {away.HOME}").split()[0])
    host.room(f"{used + 2}m")
    sql(keeping, "create table more as select n, md5(random()::text) from generate_series(1, 200000) n")
    job(keeping, "flush")
    said = job(keeping, "copy", "host")["error"]
    assert "no space left on device" in said, said
    host.room("512m")
    assert job(keeping, "copy", "host")["result"]["added"] > 0
    assert "every byte of the copy host" in keeping.maia("backups", "verify", "--copy", "host").stdout
    sql(keeping, "drop table more")


def test_a_full_folder_is_told_and_what_waited_goes_on_when_there_is_room(keeping: Appliance, disk: Disk) -> None:
    disk.room(f"{disk.used + 256}k")
    sql(keeping, "create table more as select n, md5(random()::text) from generate_series(1, 200000) n")
    try:
        said = keeping.maia("backup", check=False)
        assert said.returncode == 1
        assert "the folder of points is full: 0." in said.stderr, said.stderr
        until(lambda: job(keeping, "state")["result"]["wal_waiting"] > 0, "WAL waits")
        assert keeping.maia("status", check=False).returncode == 0, "the appliance itself is well"
    finally:
        disk.room("512m")
    until(lambda: job(keeping, "state")["result"]["wal_waiting"] == 0, "WAL is taken again")
    keeping.maia("backup")
    assert "every byte of the archive" in keeping.maia("backups", "verify").stdout
    sql(keeping, "drop table more")


def test_a_run_that_was_killed_is_finished_by_the_next(keeping: Appliance) -> None:
    sql(keeping, "create table more as select n, md5(random()::text) from generate_series(1, 200000) n")
    keeping.maia("backup")
    sql(keeping, "insert into more select n, md5(random()::text) from generate_series(1, 200000) n")
    job(keeping, "flush")
    running = part(keeping)
    running.exec_run(["python3", "-m", "app.backup", "copy", "bucket"], detach=True)

    def sending() -> bool:
        top = running.top()["Processes"] or []
        return any("restic backup" in " ".join(each) for each in top)

    until(sending, "it is sent")
    running.restart(timeout=0)
    until(lambda: running.exec_run(["test", "-e", "/archive/.copying-bucket"]).exit_code == 1, "it cleared up")
    assert job(keeping, "copy", "bucket")["result"]["point"]
    assert "every byte of the copy bucket" in keeping.maia("backups", "verify", "--copy", "bucket").stdout
    sql(keeping, "drop table more")


def test_a_copy_that_was_cut_short_is_found_and_not_restored(keeping: Appliance, s3: away.S3, tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text(keeping.secret("recovery"))
    secret.write_text(away.SECRET)
    with s3.shortened():
        done = keeping.maia("backups", "verify", "--copy", "bucket", check=False)
        assert done.returncode == 1
        assert "it is damaged" in done.stderr, done.stderr
        words = ["--copy", entry(tmp_path / "copy.yaml", "bucket", s3.asked()), "--key", str(key)]
        done = keeping.maia("restore", *words, "--secret", str(secret), "--into", "aside", check=False)
        assert done.returncode == 1
        assert "copy bucket: " in done.stderr, done.stderr
        assert not Appliance("aside", keeping.root, {}).leftovers()
    assert keeping.maia("backups", "verify", "--copy", "bucket").returncode == 0


def test_a_damaged_archive_is_found_before_a_restore_touches_the_stack(keeping: Appliance, disk: Disk) -> None:
    archive = keeping.site.archive(keeping.name, str(disk.folder))
    for below in ("postgres/backup", "restic/data"):
        files = [path for path in (archive / below).rglob("*") if path.is_file()]
        with shortened(max(files, key=lambda path: path.stat().st_size)):
            done = keeping.maia("restore", check=False)
            assert done.returncode == 1
            assert "damaged" in done.stderr, done.stderr
        assert part(keeping, "postgres").status == "running"
        assert not keeping.site.unfinished(keeping.name).exists()


def lose(made: Appliance, disk: Disk) -> None:
    """The machine is gone: the stack, its volumes, the folder of points, the site."""
    made.maia("destroy", "--yes", made.name)
    shutil.rmtree(made.root)
    shutil.rmtree(disk.folder / made.name)
    assert not made.leftovers()


@pytest.mark.parametrize("name", ["bucket", pytest.param("host", marks=pytest.mark.long)])
def test_a_lost_machine_comes_back_from_a_copy_and_the_key(
    keeping: Appliance, s3: away.S3, host: away.Ssh, disk: Disk, tmp_path: Path, name: str
) -> None:
    keeping.maia("backup")
    wanted, points = digest(keeping), keeping.maia("backups", "list", "--json").stdout
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text(keeping.secret("recovery"))
    secret.write_text(away.SECRET)
    asked = {"bucket": s3.asked(), "host": host.asked()}[name]
    lose(keeping, disk)
    words = ["--copy", entry(tmp_path / "copy.yaml", name, asked), "--key", str(key)]
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-key-of-this-archive")
    done = keeping.maia("restore", *words[:2], "--key", str(wrong), "--secret", str(secret), check=False)
    assert done.returncode == 1
    assert ("does not open what is there" if name == "bucket" else "Permission denied") in done.stderr, done.stderr
    assert not keeping.leftovers()

    done = keeping.maia("restore", *words, *(["--secret", str(secret)] if name == "bucket" else []))

    assert "every table is what the point's manifest says" in done.stdout
    assert digest(keeping) == wanted
    assert keeping.maia("backups", "list", "--json").stdout == points, "the points before it came back too"
    assert not keeping.site.fetched(keeping.name).exists()
    keeping.maia("backup")
