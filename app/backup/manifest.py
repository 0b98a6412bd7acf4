"""What ties a point together; a point exists once its manifest is in the archive."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.backup import vault
from app.backup.command import Failed
from app.backup.digest import Table
from app.backup.places import MANIFESTS, POINT

VERSION = 3
TAG = "point"


@dataclass(frozen=True, kw_only=True)
class Database:
    tables: dict[str, Table]
    sequences: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Postgres:
    label: str
    """The pgBackRest backup that a restore begins with."""
    kind: str
    made: str
    """When that backup ended, ISO 8601 UTC."""
    restore_point: str
    lsn: str
    timeline: int
    cluster: str
    """What tells the cluster from any other one."""
    next_transaction: int
    fenced: bool
    size: int
    """Bytes of the cluster."""
    added: int
    """Bytes this point's backup added to the archive."""
    databases: dict[str, Database]


@dataclass(frozen=True, kw_only=True)
class Objects:
    snapshot: str
    tree: str
    files: int
    bytes: int
    added: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of the keys that rows of a database name in a bucket."""

    database: str
    bucket: str
    error: str = ""
    """Why nothing is known."""
    named: int = 0
    absent: int = 0
    """Of those named, how many the point lacks."""
    absent_keys: list[str] = field(default_factory=list)
    """The first of them."""
    unnamed: int = 0
    """Objects, deleted ones among them, that no row names."""
    unnamed_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    version: int = VERSION
    id: str
    stack: str
    moment: str
    """The cut, ISO 8601 UTC: rows are as they were then, objects at least as late."""
    seconds: float
    """How long it took to make."""
    release: str
    plan: str
    """Hash of the plan."""
    images: dict[str, str]
    """Part to image id."""
    postgres: Postgres
    objects: Objects | None
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of what stands beside the manifest: Redis's data, settings, secrets, plan."""
    references: tuple[Found, ...] = ()
    """For each that the stack file declares."""

    @property
    def size(self) -> int:
        """Bytes a restore needs."""
        return self.postgres.size + (self.objects.bytes if self.objects else 0)

    @property
    def added(self) -> int:
        """Bytes it took in the archive, WAL apart."""
        return self.postgres.added + (self.objects.added if self.objects else 0)

    @property
    def place(self) -> tuple[int, int]:
        """Where the cut is in the WAL: a later point of that cluster has a higher one, whatever the clock said."""
        high, low = self.postgres.lsn.split("/")
        return self.postgres.timeline, int(high, 16) << 32 | int(low, 16)

    def data(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read one.

        Raises:
            Failed: a later release wrote it.
        """
        data = json.loads(text)
        if data["version"] > VERSION:
            raise Failed(f"the point {data['id']} has format {data['version']}, this release reads up to {VERSION}")
        postgres = {"cluster": ""} | data["postgres"]
        databases = {
            name: Database(
                tables={table: Table(**found) for table, found in each["tables"].items()}, sequences=each["sequences"]
            )
            for name, each in postgres["databases"].items()
        }
        objects = Objects(**data["objects"]) if data["objects"] else None
        references = tuple(Found(**each) for each in data.get("references", ()))
        parsed = {"postgres": Postgres(**postgres | {"databases": databases}), "objects": objects}
        return cls(**data | parsed | {"references": references})


def new_id(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def store(manifest: Manifest) -> None:
    """Make the point exist: from here on it can be restored."""
    (POINT / "manifest.json").write_text(json.dumps(manifest.data(), indent=1, sort_keys=True))
    vault.keep((POINT,), (TAG, manifest.id))


def ids() -> dict[str, str]:
    """Every point's id and its snapshot, the oldest first."""
    found = {}
    for snapshot in vault.snapshots(TAG):
        named = [tag for tag in snapshot.tags if re.fullmatch(r"\d{8}T\d{6}Z", tag)]
        found[named[0]] = snapshot.id
    return found


def points() -> list[Manifest]:
    """Every point of the archive, the oldest first; what was read once is remembered."""
    MANIFESTS.mkdir(parents=True, exist_ok=True)
    known = ids()
    for path in MANIFESTS.glob("*.json"):
        if path.stem not in known.values():
            path.unlink()
    return ordered([_read(snapshot) for snapshot in known.values()])


def ordered(found: Sequence[Manifest]) -> list[Manifest]:
    """The oldest first: those of one cluster by their WAL, and clusters, which have none in common, by the clock."""
    newest: dict[str, str] = {}
    for each in found:
        newest[each.postgres.cluster] = max(newest.get(each.postgres.cluster, ""), each.moment)
    return sorted(found, key=lambda each: (newest[each.postgres.cluster], *each.place))


def jumped(known: Sequence[Manifest], oldest: datetime) -> bool:
    """Whether all but the newest would be too old at once, as when the clock has jumped ahead."""
    return len(known) > 1 and all(datetime.fromisoformat(each.moment) < oldest for each in known[:-1])


def _read(snapshot: str) -> Manifest:
    path = MANIFESTS / f"{snapshot}.json"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(vault.dump(snapshot, POINT / "manifest.json"))
        partial.replace(path)
    return Manifest.parse(path.read_text())


def find(name: str) -> Manifest:
    """The point of that id, or the newest for ``latest``.

    Raises:
        Failed: there is none.
    """
    found = points()
    if not found:
        raise Failed("the archive holds no point yet")
    for each in found:
        if each.id == name:
            return each
    if name == "latest":
        return found[-1]
    raise Failed(f"no point {name!r}; there are {found[0].id} to {found[-1].id}")
