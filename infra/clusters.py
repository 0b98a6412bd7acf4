"""Clusters of Postgres in the folder of their volume. Reads only.

Standard library only: it is carried out on servers too (`infra.place`).
"""

from __future__ import annotations

import os
from pathlib import Path

SERVING = "data"
"""The folder of the one that serves; others are called by their version."""


def versions(folder: str) -> dict[str, str]:
    """The major version of each cluster that we may read by its folder's name; empty where it is not written down."""
    try:
        return {path.name: _version(path) for path in Path(folder).iterdir() if path.is_dir()}
    except OSError:
        return {}


def _version(cluster: Path) -> str:
    try:
        return (cluster / "PG_VERSION").read_text().strip()
    except OSError:
        return ""


def size(folder: str) -> int:
    """Bytes of the serving cluster without its WAL."""
    cluster = Path(folder, SERVING)
    paths = (path for path in cluster.rglob("*") if path.relative_to(cluster).parts[0] != "pg_wal")
    return sum(path.lstat().st_blocks * 512 for path in paths)


def waits(folder: str) -> bool:
    """Whether segments of the serving cluster wait to be put back."""
    return os.path.exists(f"{folder}/{SERVING}/waiting")
