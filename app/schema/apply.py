"""One version's files, applied by Alembic within the transaction of the version."""

from __future__ import annotations

from typing import Any

import psycopg
from alembic import op

from app.schema import files
from app.schema.execute import execute

PATH = "set local search_path = maia, extensions, pg_catalog"
"""Where the names in the files are looked up; what is made pins its own."""


def version(number: str) -> None:
    """Apply the files of a version and write down what they were."""
    link: psycopg.Connection[Any] = op.get_bind().connection.driver_connection  # type: ignore[assignment]
    link.execute(PATH)
    for file in files.of(number):
        execute(link, f"{file.version}/{file.name}", file.text)
        link.execute(
            "insert into maia_meta.applied_files (version, file, sha256) values (%s, %s, %s)",
            [file.version, file.name, file.sha256],
        )
