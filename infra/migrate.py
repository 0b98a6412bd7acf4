"""The move off Supabase from the machine's side: both ends, the disk, and Postgres's own programs in a container."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from docker.errors import NotFound

from app.migrate import plan as planning
from app.migrate import source as sources
from app.migrate.plan import Plan
from app.migrate.refused import Refused, told
from app.migrate.scope import Selection
from app.migrate.source import Source
from infra import health, schema
from infra.errors import MaiaError
from infra.stack import Stack

Link = psycopg.Connection[tuple[Any, ...]]

PART = "postgres"
DATA = "/var/lib/postgresql"


def plan(stack: Stack, source: Path, chosen: Selection) -> Plan:
    """What a migration would do; changes nothing.

    Raises:
        MaiaError: one of the two databases cannot be read.
    """
    with translated(), opened(stack) as target:
        return planning.make(described(source), target, chosen, room(stack))


def described(path: Path) -> Source:
    return sources.read(path)


@contextmanager
def opened(stack: Stack) -> Iterator[Link]:
    """The appliance's database, as superuser.

    Raises:
        MaiaError: there is none yet.
    """
    socket = str(stack.site.sockets(stack.name) / PART)
    if not schema.exists(socket):
        raise MaiaError("there is none yet", where=f"database {schema.DATABASE}", mend="maia db migrate")
    with connect(socket) as link:
        yield link


def connect(socket: str) -> Link:
    return psycopg.connect(host=socket, user="postgres", dbname=schema.DATABASE, connect_timeout=10, autocommit=True)


def room(stack: Stack) -> int | None:
    """Bytes that are free where the target's data lies; none where that cannot be told."""
    name = next((mount.volume for mount in stack.plan.container(PART).mounts if mount.path == DATA), "")
    try:
        return shutil.disk_usage(health.client().volumes.get(name).attrs["Mountpoint"]).free
    except (NotFound, OSError):
        return None


@contextmanager
def translated() -> Iterator[None]:
    """What the migration refuses, as the one line that a person reads."""
    try:
        yield
    except Refused as refused:
        raise MaiaError(refused.what, where=refused.where, mend=refused.mend) from None
    except psycopg.Error as error:
        raise MaiaError(told(error), where="postgres", mend="maia doctor") from None
