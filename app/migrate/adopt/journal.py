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


def note(link: Link, name: str, source: str, target: str, digest: str) -> None:
    """That a map was carried out, now or once more."""
    link.execute(
        """insert into maia_migrate.adoptions (name, source, target, rows, digest)
           values (%(name)s, %(source)s, %(target)s,
             (select count(*) from maia_migrate.adopted where name = %(name)s), %(digest)s)
           on conflict (name) do update set rows = excluded.rows, digest = excluded.digest, at = excluded.at""",
        {"name": name, "source": source, "target": target, "digest": digest},
    )


def forget(link: Link, name: str) -> None:
    """That rows of a map were taken back."""
    link.execute(
        """with rest as (select count(*) as rows from maia_migrate.adopted where name = %(name)s),
           gone as (delete from maia_migrate.adoptions where name = %(name)s and (select rows from rest) = 0)
           update maia_migrate.adoptions set rows = rest.rows from rest where name = %(name)s and rest.rows > 0""",
        {"name": name},
    )
