"""A point put back into volumes that nobody uses, in a container made for this one job.

It starts as root, because objects and Redis's data belong to other users than Postgres's; what speaks with the
archive of Postgres, and the server that plays the WAL, run as Postgres's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from app.backup import archive, digest, fence, manifest, vault
from app.backup.command import LINES, Failed, Say, run
from app.backup.manifest import Manifest
from app.backup.places import OBJECTS, POINT, POSTGRES

REDIS = Path("/redis")
"""Redis's volume, in this container alone."""
SOCKET = Path("/tmp/socket")
LOG = Path("/tmp/postgres.log")
REPLAY = 24 * 3600.0
"""Seconds that playing the WAL may take."""
SERVER = {
    "listen_addresses": "",
    "unix_socket_directories": str(SOCKET),
    "hba_file": "/tmp/pg_hba.conf",
    "ident_file": "/tmp/pg_ident.conf",
    "hot_standby": "off",
    "wal_level": "logical",
    # On, so that the history of the new timeline is archived, but not yet: by the real server, into its own archive.
    "archive_mode": "on",
    "archive_command": "false",
    "shared_preload_libraries": "pg_stat_statements,pgaudit",
    "max_wal_size": "4GB",
    "max_prepared_transactions": "0",
    "logging_collector": "off",
}


def read(name: str) -> dict[str, Any]:
    """The manifest, settings and secrets of a point.

    Raises:
        Failed: it is not there, or a file of it is not the one its manifest names.
    """
    found = manifest.find(name)
    _refuse_other(found)
    snapshot = manifest.ids()[found.id]
    texts = {}
    for file in ("settings.json", "secrets.json"):
        texts[file] = vault.dump(snapshot, POINT / file)
        _same(found, file, texts[file].encode())
    return {
        "manifest": found.data(),
        "settings": json.loads(texts["settings.json"]),
        "secrets": json.loads(texts["secrets.json"]),
    }


def _refuse_other(point: Manifest) -> None:
    """The server here plays the WAL of its own major version only.

    Raises:
        Failed: the point is of another one.
    """
    own = run(("postgres", "--version")).split()[2].partition(".")[0]
    made = next((each.version for each in archive.backups() if each.label == point.postgres.label), own)
    if made != own:
        raise Failed(f"the point {point.id} is of Postgres {made}, this is {own}: release {point.release} restores it")


def _same(found: Manifest, file: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != found.files[file]:
        raise Failed(f"{file} of the point {found.id} is not what its manifest names")


def fill(name: str, moment: str, say: Say, *, redis: str = "", objects: str = "") -> dict[str, Any]:
    """Put everything back.

    Args:
        name: the point, or ``latest``.
        moment: a time between points, ISO 8601, instead of a point's own.
        redis: ``uid:gid`` of Redis; empty where the stack has none. ``objects`` likewise.

    Returns:
        What was put back, and where a table is not what the manifest says.

    Raises:
        Failed: what did not work; the volumes are unusable then, until another run ends well.
    """
    started = time.monotonic()
    point, things = _choose(name, moment)
    _refuse_other(point)
    _postgres(point, moment, say)
    found = _replay(point, moment, say)
    if objects and things.objects:
        say(f"objects: {things.objects.files} files")
        _empty(OBJECTS)
        vault.restore(things.objects.snapshot, OBJECTS, OBJECTS, say)
        _own(OBJECTS, objects)
    if redis and "dump.rdb" in point.files:
        say("redis")
        _redis(point, redis)
    return {"point": point.id, "objects": things.id, "seconds": round(time.monotonic() - started, 1), **found}


def _choose(name: str, moment: str) -> tuple[Manifest, Manifest]:
    """The point that the restore begins with, and the one whose objects are late enough."""
    if not moment:
        found = manifest.find(name)
        return found, found
    wanted = _parse(moment)
    points = manifest.points()
    before = [each for each in points if datetime.fromisoformat(each.moment) <= wanted]
    after = [each for each in points if datetime.fromisoformat(each.moment) > wanted]
    if not before:
        raise Failed(f"no point is as old as {moment}; the oldest is {points[0].moment if points else 'not there yet'}")
    return before[-1], (after or before[-1:])[0]


def _parse(moment: str) -> datetime:
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise Failed(f"{moment!r} is no time; write it as 2026-01-31T12:00:00Z") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _postgres(point: Manifest, moment: str, say: Say) -> None:
    _empty(POSTGRES.parent, keep=str.isdigit)  # a cluster of another major version is a way back of its own
    POSTGRES.mkdir(mode=0o700)
    for path in (POSTGRES.parent, POSTGRES):
        shutil.chown(path, "postgres", "postgres")
    say(f"postgres: files of {point.postgres.label}")
    target = (
        ("--type=time", f"--target={_parse(moment):%Y-%m-%d %H:%M:%S.%f+00}")
        if moment
        else ("--type=name", f"--target={point.postgres.restore_point}")
    )
    archive.pgbackrest(
        *("restore", f"--set={point.postgres.label}", *target),
        *("--target-action=promote", "--target-timeline=current"),
        say=lambda line: say(f"postgres: {archive.short(line)}"),
        user="postgres",
    )


def _replay(point: Manifest, moment: str, say: Say) -> dict[str, Any]:
    """Play the WAL up to the target in a server that nobody else can reach, compare, and stop it cleanly."""
    SOCKET.mkdir(mode=0o700, exist_ok=True)
    shutil.chown(SOCKET, "postgres", "postgres")
    Path(SERVER["hba_file"]).write_text("local all postgres peer map=job\n")
    Path(SERVER["ident_file"]).write_text("job root postgres\njob postgres postgres\n")
    for path in (SERVER["hba_file"], SERVER["ident_file"]):
        os.chmod(path, 0o644)
    options = [word for key, value in SERVER.items() for word in ("-c", f"{key}={value}")]
    say("postgres: playing the WAL")
    with LOG.open("w") as log:
        server = subprocess.Popen(
            ["postgres", "-D", POSTGRES, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user="postgres",
            group="postgres",
            extra_groups=[],
        )
    try:
        link = _await(server, say)
        with link:
            row = link.execute("select timeline_id from pg_control_checkpoint()").fetchone()
            for name in ("restore_command", "recovery_target_name", "recovery_target_time", "recovery_target_action",
                         "recovery_target_timeline"):  # fmt: skip
                link.execute(f"alter system reset {name}".encode())
            names = fence.databases(link)
        differs = [] if moment else _compare(point, names, say)
        return {"timeline": row[0] if row else 0, "differs": differs, "compared": not moment}
    finally:
        server.send_signal(2)  # SIGINT: a fast shutdown, with a checkpoint
        server.wait()


def _await(server: subprocess.Popen[bytes], say: Say) -> psycopg.Connection[Any]:
    """A connection, once the server has reached its target and takes writes."""
    deadline = time.monotonic() + REPLAY
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Failed(f"postgres: {_last_words()}")
        try:
            return fence.connect(folder=str(SOCKET))
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise Failed(f"postgres: the WAL is not played after {REPLAY / 3600:.0f} hours")


def _last_words() -> str:
    told = [line for line in LOG.read_text(errors="replace").splitlines() if "FATAL" in line or "PANIC" in line]
    return " | ".join(line.split(":  ", 1)[-1] for line in told[-LINES:]) or "it stopped"


def _compare(point: Manifest, names: list[str], say: Say) -> list[str]:
    """The tables and databases that are not what the manifest says."""
    wanted, differs = point.postgres.databases, []
    for name in sorted({*wanted, *names}):
        if name not in names or name not in wanted:
            differs.append(name)
            continue
        say(f"postgres: comparing {name}")
        with fence.connect(name, str(SOCKET)) as link:
            tables, sequences = digest.database(link), digest.sequences(link)
        expected = wanted[name]
        differs += [
            f"{name}: {table}"
            for table in sorted({*tables, *expected.tables})
            if tables.get(table) != expected.tables.get(table)
        ]
        differs += [f"{name}: {each}" for each, at in expected.sequences.items() if sequences.get(each, -1) < at]
    return differs


def _redis(point: Manifest, owner: str) -> None:
    """The data as the first file of an append-only log: a dump beside such a log would not be read."""
    _empty(REDIS)
    snapshot = manifest.ids()[point.id]
    staging = REDIS / "restored"
    vault.restore(snapshot, POINT, staging, lambda line: None)
    _same(point, "dump.rdb", (staging / "dump.rdb").read_bytes())
    folder = REDIS / "appendonlydir"
    folder.mkdir()
    os.replace(staging / "dump.rdb", folder / "appendonly.aof.1.base.rdb")
    (folder / "appendonly.aof.1.incr.aof").touch()
    (folder / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    shutil.rmtree(staging)
    run(("chown", "-R", owner, REDIS))
    _own(REDIS, owner)


def _own(folder: Path, owner: str) -> None:
    """The folder itself, as the image of its part has it."""
    uid, gid = (int(part) for part in owner.split(":"))
    os.chown(folder, uid, gid)
    os.chmod(folder, 0o750)  # noqa: S103 - as in the image of its part


def _empty(folder: Path, keep: Callable[[str], bool] = lambda name: False) -> None:
    for path in folder.iterdir():
        if keep(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
