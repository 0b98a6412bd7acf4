"""Postgres's files out of the archive, and a server over them that nobody else can reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from app.backup import archive, fence
from app.backup.command import LINES, Failed, Say
from app.backup.fence import Link
from app.backup.manifest import Manifest
from app.backup.places import POSTGRES

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


def parse(moment: str) -> datetime:
    """A time as people write it; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise Failed(f"{moment!r} is no time; write it as 2026-01-31T12:00:00Z") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def lay(point: Manifest, moment: str, say: Say, without: Sequence[str] = ()) -> None:
    """Put the files of the point's backup back; those of the databases ``without`` hold nothing and cannot be used."""
    empty(POSTGRES.parent, keep=str.isdigit)  # a cluster of another major version is a way back of its own
    POSTGRES.mkdir(mode=0o700)
    for path in (POSTGRES.parent, POSTGRES):
        shutil.chown(path, "postgres", "postgres")
    say(f"postgres: files of {point.postgres.label}")
    target = (
        ("--type=time", f"--target={parse(moment):%Y-%m-%d %H:%M:%S.%f+00}")
        if moment
        else ("--type=name", f"--target={point.postgres.restore_point}")
    )
    archive.pgbackrest(
        *("restore", f"--set={point.postgres.label}", *target),
        *("--target-action=promote", "--target-timeline=current"),
        *(f"--db-exclude={name}" for name in without),
        say=lambda line: say(f"postgres: {archive.short(line)}"),
        user="postgres",
    )


@contextmanager
def played(say: Say) -> Iterator[Link]:
    """Play the WAL up to the target; a link to the server, which is stopped cleanly with the block."""
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
        with _await(server) as link:
            yield link
    finally:
        server.send_signal(2)  # SIGINT: a fast shutdown, with a checkpoint
        server.wait()


def _await(server: subprocess.Popen[bytes]) -> Link:
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


def empty(folder: Path, keep: Callable[[str], bool] = lambda name: False) -> None:
    """Remove all that is in it, but for the names to ``keep``."""
    for path in folder.iterdir():
        if keep(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
