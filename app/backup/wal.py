"""WAL from the spool into the archive, segment by segment, in order."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from app.backup import archive
from app.backup.command import Failed
from app.backup.places import SPOOL

NAME = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")


@dataclass
class Shipper:
    """Empties the spool; what went wrong last is in ``error``."""

    error: str = ""
    beat: float = 0.0
    """When it last looked, by the monotonic clock."""

    def waiting(self) -> list[Path]:
        """The segments that wait, the oldest first."""
        return sorted(path for path in SPOOL.iterdir() if NAME.fullmatch(path.name))

    def turn(self) -> int:
        """Ship what waits.

        Returns:
            How many segments came into the archive.
        """
        self.beat, shipped = time.monotonic(), 0
        try:
            for path in self.waiting():
                archive.prepare()
                archive.push(path)
                path.unlink()
                shipped += 1
                self.beat = time.monotonic()
            self.error = ""
        except (Failed, OSError) as error:
            self.error = str(error)
        return shipped

    def oldest(self) -> float:
        """Seconds that the oldest segment waits."""
        waiting = self.waiting()
        return max(0.0, time.time() - waiting[0].stat().st_mtime) if waiting else 0.0
