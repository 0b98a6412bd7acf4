"""What became of the jobs, remembered for the metrics and the schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from typing import Any

from app.backup import references
from app.backup.command import Failed
from app.backup.manifest import Manifest
from app.backup.places import STATUS, STATUS_LOCK

Known = dict[str, Any]


def read() -> Known:
    try:
        found: Known = json.loads(STATUS.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _write(**changes: Any) -> None:
    with STATUS_LOCK.open("a") as lock:
        flock(lock, LOCK_EX)
        partial = STATUS.with_suffix(".partial")
        partial.write_text(json.dumps(read() | changes, indent=1))
        partial.replace(STATUS)


def begin() -> None:
    """Remember since when points are looked after here."""
    if "began" not in read():
        _write(began=time.time())


def drilled(*, error: str, rto: float, rpo: float) -> None:
    """Note how a drill ended; its times count where it went well."""
    now = time.time()
    well = {} if error else {"drill_succeeded": now, "drill_rto": rto, "drill_rpo": rpo}
    _write(drill_tried=now, drill_error=error, **well)


@contextmanager
def job(name: str) -> Iterator[Callable[[Manifest], None]]:
    """Note how the job ends; a point that it made is reported by the call it yields."""
    started = time.time()
    _write(**{f"{name}_tried": started})
    made: Known = {}

    def report(point: Manifest) -> None:
        made.update(
            point_id=point.id, point_size=point.size, point_added=point.added, point_fenced=point.postgres.fenced,
            references_error=references.wrong(point.references),
            references_absent=sum(each.absent for each in point.references),
            references_unnamed=sum(each.unnamed for each in point.references),
        )  # fmt: skip

    try:
        yield report
    except Failed as error:
        _write(**{f"{name}_failed": time.time(), f"{name}_error": str(error)})
        raise
    _write(**{f"{name}_succeeded": time.time(), f"{name}_seconds": time.time() - started, f"{name}_error": "", **made})
