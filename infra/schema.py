"""The schema of MAIA in a stack's Postgres, over its administrative socket: migrated, looked at, compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from app.schema import catalogue, files, parts, snapshot, standing
from app.schema.refused import Refused
from app.schema.standing import Standing
from infra import machine, place
from infra.components.database import administer
from infra.errors import MaiaError
from infra.place import Place
from infra.plan import DATABASE, Plan
from infra.site import Site

Link = psycopg.Connection[tuple[Any, ...]]


def wanted(plan: Plan) -> tuple[str, ...]:
    """The parts of the plan that have tables in the database."""
    return tuple(part for part in parts.FILES if plan.database and plan.has(part))


def bring(socket: str, say: Callable[[str], None], of: Collection[str] = ()) -> tuple[str, ...]:
    """Make the database where it is missing, and apply what is pending.

    Args:
        of: parts whose tables are to be there too.

    Returns:
        The versions applied, and the parts whose tables were made or brought further.

    Raises:
        MaiaError: it was refused, and why; nothing was changed.
    """
    from app.schema import migrate

    if not exists(socket):
        say(f"making the database {DATABASE}")
        with administer(socket) as link:
            link.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
    with _told():
        return migrate.migrate(partial(_connect, socket, DATABASE), say, wanted=of)


def steps(plan: Plan, at: Place, home: Site) -> list[str]:
    """What `bring` would do, for people; nothing where there is no such database, or Postgres does not answer.

    Raises:
        MaiaError: it would be refused.
    """
    folder = str(home.sockets(plan.stack) / "postgres")
    if not plan.database or not at.call(machine.listens, f"{folder}/{place.POSTGRES}"):
        return []
    socket = place.postgres(at, folder)
    try:
        if not exists(socket):
            return [
                f"the database {DATABASE} is made",
                *(f"version {version}" for version in files.versions()),
                *(f"tables of {part}" for part in wanted(plan)),
            ]
        with _opened(socket) as link:
            found, faults = standing.look(link), parts.faults(link, wanted(plan))
            lacking = parts.pending(link, wanted(plan))
    except psycopg.OperationalError:  # it is starting, or stopping
        return []
    if faults := (*found.faults, *faults):
        raise _refusal("; ".join(faults))
    return [*(f"version {version}" for version in found.pending), *(f"tables of {part}" for part in lacking)]


def reembed(socket: str, url: str, model: str, say: Callable[[str], None]) -> dict[str, int]:
    """Have the embedder at ``url`` make the vectors of a model that are missing.

    Returns:
        How many it made, by table.

    Raises:
        MaiaError: it was refused, and why; what was embedded by then is kept.
    """
    from app.schema import reembed as job
    from infra import embedder

    embed = embedder.at(url, model)
    with _opened(socket) as link:
        link.autocommit = True
        try:
            return job.run(link, model, embed, say)
        except Refused as refused:
            mend = "what was embedded by then is kept"
            raise MaiaError(str(refused), where=f"database {DATABASE}", mend=mend) from None


def state(socket: str) -> Standing:
    """Where it stands.

    Raises:
        MaiaError: there is no such database.
    """
    with _opened(socket) as link:
        return standing.look(link)


def applied(socket: str) -> dict[str, str] | None:
    """The versions that the database has and this release knows, as one digest each; None: there is no database."""
    if not exists(socket):
        return None
    known = files.versions()
    with _connect(socket, DATABASE) as link:
        found = standing.digests(standing.applied(link))
    return {version: digest for version, digest in found.items() if version in known}


def applied_parts(socket: str) -> dict[str, str]:
    """The parts whose tables the database has and this release knows, with the digest of what was run."""
    with _connect(socket, DATABASE) as link:
        return {part: sha256 for part, sha256 in parts.applied(link).items() if part in parts.FILES}


def findings(socket: str) -> list[str]:
    """What breaks the schema's rules, and where the log of changes was altered."""
    with _opened(socket) as link:
        if not catalogue.present(link):
            return []
        return [*catalogue.findings(link), *catalogue.altered(link)]


def root(socket: str) -> str:
    """The digest over the ends of all chains of the log; empty where there is no log."""
    with _opened(socket) as link:
        if not catalogue.present(link):
            return ""
        found = link.execute("select encode(maia.change_root(), 'hex')").fetchone()
        return str(found[0]) if found else ""


def differences(socket: str, say: Callable[[str], None]) -> list[str]:
    """How the database differs from this release's schema, which is made in a database beside it and removed again."""
    from app.schema import migrate

    side = f"{DATABASE}_diff_{os.getpid()}"
    with administer(socket) as link, _told():
        link.execute(sql.SQL("create database {}").format(sql.Identifier(side)))
        try:
            migrate.migrate(partial(_connect, socket, side), say, wanted=applied_parts(socket))
            with _connect(socket, side) as wanted:
                lines = snapshot.take(wanted)
        finally:
            link.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(side)))
    with _opened(socket) as found:
        return list(snapshot.differences(lines, snapshot.take(found)))


def exists(socket: str) -> bool:
    with administer(socket) as link:
        return link.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone() is not None


@contextmanager
def _opened(socket: str) -> Iterator[Link]:
    if not exists(socket):
        raise MaiaError("there is none yet", where=f"database {DATABASE}", mend="maia up")
    with _connect(socket, DATABASE) as link:
        yield link


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise _refusal(str(refused)) from None


def _refusal(what: str) -> MaiaError:
    return MaiaError(what, where=f"database {DATABASE}", mend="nothing was changed; maia db status")


def _connect(socket: str, database: str) -> Link:
    return psycopg.connect(host=socket, user="postgres", dbname=database, connect_timeout=10)
