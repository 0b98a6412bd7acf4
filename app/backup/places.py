"""Where things are in the container; the catalog entry mounts them there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

ARCHIVE = Path("/archive")
"""The owner's folder of recovery points."""
DATA = Path("/data")
"""What this part remembers between two starts; all of it can be found again in the archive."""
OBJECTS = Path("/objects")
"""The object store's volume."""
POSTGRES = Path("/var/lib/postgresql/data")
SPOOL = Path("/var/spool/pgbackrest")
"""WAL segments that Postgres handed over and the archive does not have yet."""
SOCKET = Path("/run/postgresql")
PLAN = Path("/etc/maia/plan.json")
SETTINGS = Path("/etc/maia/backup.json")
SECRETS = Path("/run/secrets")

POINT = DATA / "point"
"""What a point holds beside Postgres and objects; restic keeps paths, so it is the same one each time."""
LOCK = DATA / "lock"
STANZA_LOCK = DATA / "stanza.lock"
"""Names the cluster that the stanza is of."""
STATUS = DATA / "status.json"
STATUS_LOCK = DATA / "status.lock"
MANIFESTS = DATA / "manifests"
COPIES = DATA / "copies"
"""What is remembered of each place that gets the archive too, with restic's cache of it."""


def same_disk() -> bool:
    """Whether the archive is on the file system that it is to outlive."""
    return ARCHIVE.stat().st_dev == POSTGRES.parent.stat().st_dev


def room() -> int:
    """Bytes that are free for the archive."""
    found = os.statvfs(ARCHIVE)
    return found.f_bavail * found.f_frsize


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A place away from the machine that gets the archive too."""

    name: str
    repository: str
    host: str
    port: int
    every: int
    """Minutes between two runs."""
    region: str
    """Of S3; empty for SSH."""
    private: bool
    """Whether it is trusted by roots of its own."""

    @property
    def status(self) -> Path:
        return COPIES / self.name / "status.json"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where rows name objects."""

    database: str
    bucket: str
    query: str
    """Yields keys."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the stack file says."""

    stack: str
    at: str
    """``HH:MM`` UTC of the daily point; empty for never."""
    days: int
    """How long points are kept."""
    drill: int
    """Days from one drill to the next; 0 for none."""
    references: tuple[Reference, ...]
    objects: bool
    redis: bool
    reserve: int
    """MiB that must stay free for Postgres to take writes."""
    copies: tuple[Copy, ...] = ()

    @classmethod
    def read(cls) -> Settings:
        found = json.loads(SETTINGS.read_text())
        listed = {
            "references": tuple(Reference(**each) for each in found["references"]),
            "copies": tuple(Copy(**each) for each in found["copies"]),
        }
        return cls(**found | listed)

    def copy(self, name: str) -> Copy:
        return next(each for each in self.copies if each.name == name)
