"""What became of the jobs, remembered for the metrics and the schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.backup.places import STATUS

Known = dict[str, Any]


def read(file: Path = STATUS) -> Known:
    try:
        found: Known = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _write(file: Path, **changes: Any) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(read(file) | changes, indent=1))
    partial.replace(file)


@contextmanager
def job(name: str, file: Path = STATUS) -> Iterator[Callable[..., None]]:
    """Note how the job ends, and what it reports by the call that this yields."""
    started = time.time()
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
