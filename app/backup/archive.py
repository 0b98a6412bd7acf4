"""The archive of Postgres: pgBackRest, and its WAL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any, Literal

from app.backup.command import Failed, Say, run
from app.backup.places import ARCHIVE, POSTGRES, SECRETS, STANZA_LOCK

Kind = Literal["full", "diff", "incr"]

STANZA = "main"


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One backup of the cluster's files."""

    label: str
    kind: Kind
    made: datetime
    size: int
    """Bytes of the cluster."""
    added: int
    """Bytes that it added to the archive."""
    timeline: int
    version: str
    """The major version of Postgres."""


def pgbackrest(*words: str, say: Say | None = None, user: str | None = None) -> str:
    command = ("pgbackrest", *words, f"--config={SECRETS / 'pgbackrest.conf'}", f"--stanza={STANZA}")
    return run(command, say=say, user=user)


def prepare() -> None:
    """Have the stanza there, and of the cluster that serves: by the shipper or by a job, whoever comes first.

    Only where it is not yet, because pgBackRest does neither while a backup runs.
    """
    with STANZA_LOCK.open("a+") as lock:
        flock(lock, LOCK_EX)
        lock.seek(0)
        there, noted = (ARCHIVE / "postgres" / "archive" / STANZA / "archive.info").exists(), lock.read()
        now = cluster()
        if there and noted == now:
            return
        pgbackrest("stanza-upgrade" if there else "stanza-create")
        lock.truncate(0)
        lock.write(now)
        lock.flush()


def cluster() -> str:
    """What tells the cluster from any other one: its version, and the identifier that its control file begins with."""
    identifier = (POSTGRES / "global" / "pg_control").read_bytes()[:8]
    return f"{(POSTGRES / 'PG_VERSION').read_text().strip()} {identifier.hex()}"


def make(kind: Kind, say: Say) -> Backup:
    """Back the cluster's files up; files already there by checksum are not sent again."""
    pgbackrest("backup", f"--type={kind}", say=lambda line: say(short(line)))
    return backups()[-1]


def backups() -> list[Backup]:
    """Every backup that is whole, the oldest first."""
    stanzas = json.loads(pgbackrest("info", "--output=json"))
    if not stanzas:
        return []
    versions = {each["id"]: each["version"] for each in stanzas[0]["db"]}
    return [_read(backup, versions) for backup in stanzas[0]["backup"] if not backup["error"]]


def _read(backup: Mapping[str, Any], versions: Mapping[int, str]) -> Backup:
    return Backup(
        label=backup["label"],
        kind=backup["type"],
        made=datetime.fromtimestamp(backup["timestamp"]["stop"], UTC),
        size=backup["info"]["size"],
        added=backup["info"]["repository"]["delta"],
        timeline=int(backup["archive"]["start"][:8], 16),
        version=versions[backup["database"]["id"]],
    )


def databases(label: str) -> set[str]:
    """The databases whose files a backup holds."""
    stanzas = json.loads(pgbackrest("info", "--output=json", f"--set={label}"))
    return {str(each["name"]) for each in stanzas[0]["backup"][0]["database-ref"]}


def newest() -> str:
    """The last WAL segment that the archive holds; empty where it holds none."""
    stanzas = json.loads(pgbackrest("info", "--output=json"))
    return max((each["max"] or "" for stanza in stanzas for each in stanza["archive"]), default="")


def push(segment: Path) -> None:
    """Take one WAL segment into the archive, checksummed; one that is there already must be the same."""
    pgbackrest("archive-push", str(segment), "--log-level-console=warn")


def verify(say: Say, label: str = "") -> None:
    """Read every file of the archive, or of one backup and its WAL, again and compare it with its checksum.

    Raises:
        Failed: one differs or is missing.
    """
    only = (f"--set={label}",) if label else ()
    told = pgbackrest("verify", "--output=text", "--verbose", *only, say=lambda line: say(short(line)))
    if "status: ok" not in told:
        raise Failed("the archive of Postgres is damaged: " + " | ".join(told.split("\n")[-8:]))


def short(line: str) -> str:
    """A line of the log without its time, its process, and the options that a command begins with."""
    return re.sub(r"^\S+ \S+ P\d+\s+\w+: |(?<=command begin) .*", "", line)
