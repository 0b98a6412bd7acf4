"""What a drill is made in, and what it says in the evidence."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.site import Site

SUFFIX = "-drill"
LONGEST = 16
"""Characters of a stack's name."""
MEANING = {
    "rto_seconds": "from the start of the drill until the restored stack was up and checked, on this machine",
    "rpo_seconds": "age, as the drill began, of the oldest commit that the archive did not hold; 0 if it held all",
}


def side(stack: str) -> str:
    """The name of the stack that the points of ``stack`` are restored into."""
    room = LONGEST - len(SUFFIX)
    if len(stack) <= room:
        return stack + SUFFIX
    return stack[: room - 6] + hashlib.sha256(stack.encode()).hexdigest()[:6] + SUFFIX


def folder(site: Site, stack: str) -> Path:
    """Where the results are."""
    return site.evidence(stack) / "drills"


@dataclass
class Drill:
    """One drill, filled in as it goes on."""

    stack: str
    rpo: float
    """Seconds; see ``MEANING``."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Of the point."""
    restored: Mapping[str, Any] = field(default_factory=dict)
    """What the restore found."""
    checks: Mapping[str, int] = field(default_factory=dict)
    """Count by outcome."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """The checks that failed."""
    error: str = ""
    """Why it could not be made to its end."""

    @property
    def id(self) -> str:
        return self.began.strftime("%Y%m%dT%H%M%SZ")

    @property
    def rto(self) -> float:
        return round(((self.ended or datetime.now(UTC)) - self.began).total_seconds(), 1)

    @property
    def differs(self) -> list[str]:
        return list(self.restored.get("differs", ()))

    @property
    def wrong(self) -> str:
        """Why it is red; empty where it is green."""
        if self.error:
            return self.error
        if self.differs:
            return f"not what the manifest of {self.manifest['id']} says: {', '.join(self.differs)}"
        if self.failed:
            return f"checks failed: {', '.join(each['check'] for each in self.failed)}"
        return ""

    def document(self) -> dict[str, Any]:
        """The evidence, as plain data."""
        return {
            "format": 1,
            "id": self.id,
            "stack": self.stack,
            "host": platform.node(),
            "began": self.began.isoformat(timespec="seconds"),
            "ended": self.ended.isoformat(timespec="seconds") if self.ended else None,
            "green": not self.wrong,
            "error": self.error,
            "point": self._point(),
            "compared": self._compared() if self.restored else None,
            "differs": self.differs,
            "checks": dict(self.checks),
            "failed": self.failed,
            "rto_seconds": self.rto if not self.wrong else None,
            "rpo_seconds": round(self.rpo, 1),
            "meaning": MEANING,
        }

    def _point(self) -> dict[str, Any] | None:
        if not self.manifest:
            return None
        return {key: self.manifest[key] for key in ("id", "moment", "release", "plan", "images")}

    def _compared(self) -> dict[str, Any]:
        """What the restored data was compared with."""
        databases, objects = self.manifest["postgres"]["databases"], self.manifest["objects"]
        tables = [table for database in databases.values() for table in database["tables"].values()]
        return {
            "databases": len(databases),
            "tables": len(tables),
            "rows": sum(table["rows"] for table in tables),
            "objects": {key: objects[key] for key in ("files", "bytes", "tree")} if objects else None,
        }
