"""A file of statements, run as it stands."""

from __future__ import annotations

from typing import Any

import psycopg

from app.schema.refused import Refused


def execute(link: psycopg.Connection[Any], name: str, text: str) -> None:
    """Run them.

    Args:
        name: what the text is told as.

    Raises:
        Refused: Postgres would not; with the line.
    """
    try:
        link.execute(text.encode())
    except psycopg.Error as error:
        place = int(error.diag.statement_position or 0)
        line = text[: place - 1].count("\n") + 1 if place else "?"
        about = " ".join(filter(None, [error.diag.message_primary, error.diag.message_detail, error.diag.context]))
        raise Refused(f"{name}, line {line}: {about or error}") from error
