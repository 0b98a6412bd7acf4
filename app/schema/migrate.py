"""Bring a database to this release's schema: forward only, one at a time, whole versions or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from app.schema import files
from app.schema.apply import Refused

Link = psycopg.Connection[Any]
Connect = Callable[[], Link]
"""A superuser's new connection to the database."""

LOCK = 0x4D414941
"""The advisory lock that whoever migrates holds: the letters MAIA."""
OWNER = "maia_owner"


@dataclass(frozen=True)
class State:
    """Where a database stands."""

    version: str | None
    """The last version that was applied; none: it is empty."""
    pending: tuple[str, ...]
    """What this release would apply."""
    faults: tuple[str, ...]
    """Why it would not."""


def state(link: Link) -> State:
    """Compare what was applied with what this release has; changes nothing."""
    known = files.versions()
    applied: dict[str, dict[str, str]] = {}
    found = link.execute("select to_regclass('maia_meta.applied_files')").fetchone()
    if found and found[0]:
        for version, file, sha256 in link.execute("select version, file, sha256 from maia_meta.applied_files"):
            applied.setdefault(version, {})[file] = sha256
    current = max(applied, default=None)
    return State(current, tuple(version for version in known if version not in applied), tuple(_faults(known, applied)))


def _faults(known: list[str], applied: dict[str, dict[str, str]]) -> Iterator[str]:
    for version in sorted(applied):
        if version not in known:
            yield f"version {version} was applied by a newer release"
            continue
        present = {file.name: file.sha256 for file in files.of(version)}
        for name in sorted(present.keys() | applied[version].keys()):
            if present.get(name) != applied[version].get(name):
                yield f"{version}/{name} is not the file that was applied"
    if (done := sorted(applied)) and done != known[: len(done)] and set(done) <= set(known):
        yield f"a version before {done[-1]} was skipped"


def migrate(connect: Connect, say: Callable[[str], None]) -> tuple[str, ...]:
    """Apply what is pending.

    Returns:
        The versions applied.

    Raises:
        Refused: the database is not one this release can take further; nothing was changed.
    """
    with connect() as link, _locked(link):
        before = state(link)
        if before.faults:
            raise Refused("; ".join(before.faults))
        say("roles and extensions")
        link.execute(files.BOOTSTRAP.read_bytes())
        link.commit()
        for version in before.pending:
            say(f"version {version}")
            with _alembic(connect) as config:
                command.upgrade(config, version)
        return before.pending


@contextmanager
def _locked(link: Link) -> Iterator[None]:
    row = link.execute("select pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    link.commit()
    if not row or not row[0]:
        raise Refused("somebody else is migrating this database")
    yield


@contextmanager
def _alembic(connect: Connect) -> Iterator[Config]:
    """Alembic over a connection of its own, as the role that owns the schema."""

    def opened() -> Link:
        link = connect()
        link.execute(f"set role {OWNER}".encode())
        link.commit()
        return link

    engine = create_engine("postgresql+psycopg://", creator=opened, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(files.HOME))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        yield config
