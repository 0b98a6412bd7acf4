"""What was adopted, kept in the database where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from app.migrate import journal
from app.migrate.refused import Refused

Link = psycopg.Connection[tuple[Any, ...]]

SCHEMA = (Path(__file__).parent / "journal.sql").read_text()
SESSION = """
set timezone = 'UTC'; set bytea_output = 'hex'; set extra_float_digits = 1; set intervalstyle = 'iso_8601';
set datestyle = 'ISO'; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;
set client_min_messages = error; set search_path = pg_catalog;
"""
"""Rows are hashed as the log of changes hashes them, whatever a database's settings are."""


def open_(link: Link) -> None:
    """Be the only one at work, with a journal.

    Raises:
        Refused: another migration is, or the copy has not ended, or there is no schema to adopt into.
    """
    journal.lock(link)
    link.execute(SESSION.encode())
    if link.execute("select to_regclass('maia.users')").fetchone() == (None,):
        raise Refused("has no schema yet", "database", "maia db migrate")
    found = journal.run(link)
    if found is not None and found.copied is None:
        raise Refused("is not copied yet", "migration", "maia migrate copy --source FILE")
    link.execute(SCHEMA.encode())
