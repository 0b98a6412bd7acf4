"""Bring a database to this release's schema: forward only, one at a time, whole versions or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from psycopg.errors import LockNotAvailable
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from app.schema import files, parts, standing
from app.schema.refused import Refused

Link = psycopg.Connection[Any]
Connect = Callable[[], Link]
"""A superuser's new connection to the database."""

LOCK = 0x4D414941
"""The advisory lock that whoever migrates holds: the letters MAIA."""
PATIENCE = 30
"""Seconds to wait for it: the server takes up to ten to see that one who was killed is gone."""


def migrate(
    connect: Connect, say: Callable[[str], None], patience: int = PATIENCE, wanted: Collection[str] = ()
) -> tuple[str, ...]:
    """Apply what is pending. What a newer release has taken further is left as it is.

    Args:
        patience: seconds to wait for somebody else who is at it.
        wanted: parts of the stack, whose tables are made too.

    Returns:
        The versions applied, and the parts whose tables were made or brought further.

    Raises:
        Refused: the database is not one this release can take further; nothing was changed.
    """
    with connect() as link, _locked(link, patience):
        before = standing.look(link)
        if faults := (*before.faults, *parts.faults(link, wanted)):
            raise Refused("; ".join(faults))
        if before.ahead:
            return ()
        say("roles and extensions")
        link.execute(files.BOOTSTRAP.read_bytes())
        link.execute(f"set role {parts.OWNER}".encode())
        link.commit()
        for version in before.pending:
            say(f"version {version}")
            with _alembic(link) as config:
                command.upgrade(config, version)
        return (*before.pending, *parts.bring(link, wanted, say))


@contextmanager
def _locked(link: Link, patience: int) -> Iterator[None]:
    try:
        link.execute("select set_config('lock_timeout', %s, true)", [f"{patience}s" if patience else "1ms"])
        link.execute("select pg_advisory_lock(%s)", [LOCK])
        link.commit()
    except LockNotAvailable:
        raise Refused("somebody else is migrating this database") from None
    yield


@contextmanager
def _alembic(link: Link) -> Iterator[Config]:
    """Alembic over this very connection: the lock lasts as long as what it guards is at work, whoever is killed."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: link, poolclass=StaticPool)
    config = Config()
    config.set_main_option("script_location", str(files.HOME))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        yield config
