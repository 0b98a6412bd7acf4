"""The move off Supabase from the machine's side: both ends, the disk, and Postgres's own programs in a container."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from docker.errors import NotFound

from app.migrate import following, journal, report, slots
from app.migrate import plan as planning
from app.migrate import source as sources
from app.migrate.copy import Copy
from app.migrate.following import Following
from app.migrate.journal import Run, Told
from app.migrate.plan import Plan
from app.migrate.refused import Refused, told
from app.migrate.scope import Selection
from app.migrate.slots import Held
from app.migrate.source import Source
from app.migrate.sync import Sync, Wait
from app.migrate.turn import Turn
from app.migrate.verify import Result
from infra import atomic, dumper, dumpfile, dumps, machine, schema, signature
from infra.errors import MaiaError
from infra.plan import DATABASE
from infra.stack import Stack

Link = psycopg.Connection[tuple[Any, ...]]

PART = "postgres"
DATA = "/var/lib/postgresql"


def plan(stack: Stack, source: Path, chosen: Selection, say: Callable[[str], None]) -> Plan:
    """What a migration would do; changes nothing.

    Raises:
        MaiaError: one of the two databases cannot be read.
    """
    with translated(), opened(stack) as target, reached(stack, source, say) as found:
        return planning.make(found, target, chosen, room(stack))


def described(path: Path) -> Source:
    """The source that a file describes.

    Raises:
        Refused: it does not, or it is a dump, which nobody follows and nobody serves from.
    """
    if dumpfile.recognise(path):
        raise Refused("is a dump", str(path), "plan, copy and verify take one; the other steps need its server")
    return sources.read(path)


@contextmanager
def reached(stack: Stack, path: Path, say: Callable[[str], None]) -> Iterator[Source]:
    """The source that a file describes, or the dump that it is, loaded for as long as this lasts.

    Raises:
        Refused: it is neither, or cannot be loaded.
    """
    if dump := dumpfile.recognise(path):
        with dumps.served(dump, stack.plan.container(PART).image_id, say) as found:
            yield found
    else:
        yield described(path)


def copy(stack: Stack, source: Path, chosen: Selection, say: Callable[[str], None]) -> list[Told]:
    """Copy everything, or go on where an earlier run was broken off.

    Returns:
        What became of each object.

    Raises:
        MaiaError: it cannot begin or go on; what was done stays, and the same command goes on from there.
    """
    path = socket(stack)
    with translated(), reached(stack, source, say) as found:
        dump = dumper.of(stack.plan.container(PART).image_id)
        return Copy(found, partial(connect, path), dump, chosen, room(stack), say).run()


def verify(stack: Stack, source: Path, key: Ed25519PrivateKey, say: Callable[[str], None]) -> tuple[Result, Path]:
    """Compare both sides, and leave a signed report.

    Returns:
        What was found, and the report; its page lies beside it.

    Raises:
        MaiaError: nothing was copied yet, or a side is gone.
    """
    with translated():
        with reached(stack, source, say) as end:
            found = Sync(end, partial(connect, socket(stack)), say).verify()
        if found.same and (dump := dumpfile.recognise(source)):
            dumps.forget(dump)
    return found, written(found, stack.site.evidence(stack.name) / "migration", key)


def sync(stack: Stack, source: Path, say: Callable[[str], None], wait: Wait) -> None:
    """Follow the source, or, once the appliance serves, let the source follow it; until ``wait`` says so.

    Raises:
        MaiaError: it cannot begin or go on; the same command goes on from there.
    """
    with translated():
        _sync(stack, source, say).run(wait)


def stop(stack: Stack, source: Path, say: Callable[[str], None]) -> None:
    """Take away what following made at the source.

    Raises:
        MaiaError: a side is gone, or a cutover was begun.
    """
    with translated():
        _sync(stack, source, say).stop()


def turn(stack: Stack, source: Path, key: Ed25519PrivateKey, say: Callable[[str], None]) -> Turn:
    """The steps that say who serves; what they compare is reported and signed."""
    folder = stack.site.evidence(stack.name) / "migration"
    with translated():
        return Turn(_sync(stack, source, say), lambda found: str(written(found, folder, key)))


def _sync(stack: Stack, source: Path, say: Callable[[str], None]) -> Sync:
    return Sync(described(source), partial(connect, socket(stack)), say)


def written(found: Result, folder: Path, key: Ed25519PrivateKey) -> Path:
    """The report as a page, and as a signed document that vouches for the page."""
    document = found.document()
    page = report.page(document).encode()
    path = folder / f"{document['id']}.json"
    signature.sign(path, {**document, "page_sha256": hashlib.sha256(page).hexdigest()}, key)
    atomic.write(path.with_suffix(".html"), page)
    return path


def standing(stack: Stack, source: Path | None) -> tuple[Following | None, dict[str, str], Held | None]:
    """Where following stands, tables that no slot tells of, and what the slot holds back, where that can be asked."""
    with translated(), opened(stack) as link:
        run, found = journal.run(link), following.read(link)
        if run is None or found is None:
            return None, {}, None
        back = found.state in following.SERVED_HERE
        slot = following.slot(run, back=back)
        held = slots.held(link, slot) if back else None
        if source and not back:
            with closing(described(source).connect()) as there:
                held = slots.held(there, slot)
        return found, following.uncovered(link, slot), held


def state(stack: Stack) -> tuple[Run, tuple[int, int, int], list[Told]]:
    """Where the migration stands: its run, parts and rows that are copied, what became of each object.

    Raises:
        MaiaError: none was begun.
    """
    with translated(), opened(stack) as link:
        if (run := journal.run(link)) is None:
            raise MaiaError("none was begun", where="migration", mend="maia migrate copy --source FILE")
        return run, journal.progress(link), journal.outcomes(link)


@contextmanager
def opened(stack: Stack) -> Iterator[Link]:
    """The appliance's database, as superuser.

    Raises:
        MaiaError: there is none yet.
    """
    with connect(socket(stack)) as link:
        yield link


def socket(stack: Stack) -> str:
    """Where the appliance's database is met.

    Raises:
        MaiaError: there is none yet.
    """
    path = stack.postgres
    if not schema.exists(path):
        raise MaiaError("there is none yet", where=f"database {DATABASE}", mend="maia up")
    return path


def connect(socket: str) -> Link:
    return psycopg.connect(host=socket, user="postgres", dbname=DATABASE, connect_timeout=10, autocommit=True)


def room(stack: Stack) -> int | None:
    """Bytes that are free where the target's data lies; none where that cannot be told."""
    name = next((mount.volume for mount in stack.plan.container(PART).mounts if mount.path == DATA), "")
    try:
        return stack.place.call(machine.free, stack.place.docker().volumes.get(name).attrs["Mountpoint"]) * 2**20
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
