"""Where things are in the container; the catalog entry mounts them there."""

from __future__ import annotations

import json
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
MANIFESTS = DATA / "manifests"


def same_disk() -> bool:
    """Whether the archive is on the file system that it is to outlive."""
    return ARCHIVE.stat().st_dev == POSTGRES.parent.stat().st_dev


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the stack file says."""

    stack: str
    at: str
    """``HH:MM`` UTC of the daily point; empty for never."""
    days: int
    """How long points are kept."""
    objects: bool
    redis: bool

    @classmethod
    def read(cls) -> Settings:
        return cls(**json.loads(SETTINGS.read_text()))
