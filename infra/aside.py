"""One database, table or bucket of a point, brought back beside what is live in the running stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra import health, recovery
from infra.errors import MaiaError
from infra.recovery import PART, Archive, Say
from infra.stack import Stack

LONGEST = 63
"""Characters of a bucket's name, and bytes of a database's."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def default(wanted: str, point: str, separator: str) -> str:
    """The name of what comes back, where none is given."""
    end = separator + point.lower()
    return wanted[: LONGEST - len(end)] + end


def refuse_name(side: str, *, bucket: bool) -> None:
    """Refuse what cannot be a name.

    Raises:
        MaiaError: it is none.
    """
    if not side or len(side.encode()) > LONGEST or (bucket and not BUCKET.fullmatch(side)):
        raise MaiaError(
            f"{side!r} is no name of a {'bucket' if bucket else 'database'}", where="--as", mend="choose another name"
        )


def refuse_taken(stack: Stack, side: str) -> None:
    """Refuse the name of a database that there is, before the long part.

    Raises:
        MaiaError: it is taken.
    """
    from infra.components import database

    with database.administer(str(stack.home.sockets(stack.name) / "postgres"), at=stack.place) as link:
        if link.execute("select 1 from pg_database where datname = %s", [side]).fetchone():
            raise MaiaError(f"there is a database {side!r} already", where="--as", mend="choose another name")


def database(
    stack: Stack, archive: Archive, point: str, moment: str, wanted: str, table: str, side: str, say: Say
) -> dict[str, Any]:
    """Bring a database back as ``side``: all of it, or its shape and the rows of one table."""
    words = ["extract", point, wanted, *_time(moment), *(["--table", table] if table else [])]
    with _room(stack) as volume:
        volumes = {volume: "/var/lib/postgresql", _volume(stack, PART): "/part"}
        taken: dict[str, Any] = recovery.job(stack.name, stack.site, archive, *words, volumes=volumes, say=say)
    made: dict[str, Any] = recovery.ask(stack, "take", side, say=say)
    return taken | made | {"differs": sorted({*taken["differs"], *made["differs"]})}


def bucket(stack: Stack, archive: Archive, point: str, moment: str, wanted: str, side: str, say: Say) -> dict[str, Any]:
    """Bring a bucket back as ``side``, with all versions of its objects."""
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    from infra.components import store

    volumes = {_volume(stack, "minio"): "/objects"}
    words = ["bucket", point, wanted, side, *_time(moment)]
    found: dict[str, Any] = recovery.job(stack.name, stack.site, archive, *words, volumes=volumes, say=say)
    client = store.objects(
        {
            "socket": str(stack.home.sockets(stack.name) / "s3"),
            "admin": str(stack.site.files(stack.name) / "administrators" / "minio"),
            **stack.place.inputs,
        }
    )
    client.set_bucket_versioning(side, VersioningConfig(ENABLED))
    say(f"looking through {side}")
    objects = versions = 0
    for each in client.list_objects(side, recursive=True, include_version=True):
        versions += 1
        objects += bool(each.is_latest == "true" and not each.is_delete_marker)
    return found | {"objects": objects, "versions": versions}


def _time(moment: str) -> list[str]:
    return ["--time", moment] if moment else []


def _volume(stack: Stack, part: str) -> str:
    """The part's own volume."""
    if not stack.plan.has(part):
        raise MaiaError("disabled", where=f"maia:parts.{part}", mend="enable it and run maia up")
    return next(mount.volume for mount in stack.plan.container(part).mounts if mount.part == part and mount.volume)


@contextmanager
def _room(stack: Stack) -> Iterator[str]:
    """A volume for files that nobody needs afterwards; one that a killed run left is taken away first."""
    client, name = health.client(stack.place), f"maia-{stack.name}-aside"
    job = health.find(client, recovery.job_name(stack.name))
    if job:
        job.remove(force=True)
    for left in client.volumes.list(filters={"name": f"^{name}$"}):
        left.remove(force=True)
    volume = client.volumes.create(name, labels={"maia.stack": stack.name})
    try:
        yield name
    finally:
        volume.remove(force=True)
