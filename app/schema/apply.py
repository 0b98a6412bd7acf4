"""One version's files, applied by Alembic within the transaction of the version."""

from __future__ import annotations

from typing import Any

import psycopg
from alembic import op

from app.schema import files
from app.schema.files import File
from app.schema.refused import Refused

PATH = "set local search_path = maia, extensions, pg_catalog"
"""Where the names in the files are looked up; what is made pins its own."""


def version(number: str) -> None:
    """Apply the files of a version and write down what they were."""
    link: psycopg.Connection[Any] = op.get_bind().connection.driver_connection  # type: ignore[assignment]
    link.execute(PATH)
    for file in files.of(number):
        execute(link, file)
        link.execute(
            "insert into maia_meta.applied_files (version, file, sha256) values (%s, %s, %s)",
            [file.version, file.name, file.sha256],
        )


def execute(link: psycopg.Connection[Any], file: File) -> None:
    """Run a file as it stands.

    Raises:
        Refused: Postgres would not; with the line.
    """
    text = file.text
    try:
        link.execute(text.encode())
    except psycopg.Error as error:
        place = int(error.diag.statement_position or 0)
        line = text[: place - 1].count("\n") + 1 if place else "?"
        about = " ".join(filter(None, [error.diag.message_primary, error.diag.message_detail, error.diag.context]))
        raise Refused(f"{file.version}/{file.name}, line {line}: {about or error}") from error
