"""What became of the jobs, remembered for the metrics and the schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from app.backup.places import STATUS, STATUS_LOCK

Known = dict[str, Any]


def read(file: Path | None = None) -> Known:
    """What is remembered in ``file``; without one, of the archive itself."""
    try:
        found: Known = json.loads((file or STATUS).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _write(file: Path, **changes: Any) -> None:
    with STATUS_LOCK.open("a") as lock:
        flock(lock, LOCK_EX)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(read(file) | changes, indent=1))
        partial.replace(file)


def begin() -> None:
    """Remember since when points are looked after here."""
    if "began" not in read():
        _write(STATUS, began=time.time())


def drilled(*, error: str, rto: float, rpo: float) -> None:
    """Note how a drill ended; its times count where it went well."""
    now = time.time()
    well = {} if error else {"drill_succeeded": now, "drill_rto": rto, "drill_rpo": rpo}
    _write(STATUS, drill_tried=now, drill_error=error, **well)


@contextmanager
def job(name: str, file: Path | None = None) -> Iterator[Callable[..., None]]:
    """Note how the job ends, and what it reports by the call that this yields."""
    file, started = file or STATUS, time.time()
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, **{f"{name}_tried": started})
    made: Known = {}
    try:
        yield made.update
    except Exception as error:
        _write(file, **{f"{name}_failed": time.time(), f"{name}_error": str(error)})
        raise
    ended = {f"{name}_succeeded": time.time(), f"{name}_seconds": time.time() - started, f"{name}_error": ""}
    _write(file, **ended, **made)
