"""Following as tests do it, and what writes to the source meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from app.migrate import source
from app.migrate.sync import Sync
from app.migrate.turn import Turn
from app.migrate.verify import Result
from infra.site import REPO
from tests.postgres import Server
from tests.processes import kill_at
from tests.supabase.project import Project

Say = Callable[[str], None]


def sync(
    supabase: Project, appliance: Server, database: str, say: Say = lambda _: None, file: Path | None = None
) -> Sync:
    to = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname=database)
    return Sync(source.read(file or supabase.file), to, say)


def turn(found: Sync, results: list[Result] | None = None) -> Turn:
    """What is reported goes into the list."""

    def report(result: Result) -> str:
        (results if results is not None else []).append(result)
        return "the report"

    return Turn(found, report)


def once(found: Sync) -> None:
    """Follow until what was written by now is there."""
    found.run(lambda _: False)


def slot_names(supabase: Project) -> list[str]:
    with supabase.platform() as link:
        return [name for (name,) in link.execute("select slot_name::text from pg_replication_slots order by 1")]


@contextmanager
def writing(supabase: Project) -> Iterator[Callable[[], int]]:
    """Somebody who writes to three tables all the time: with a key, without one, of the platform's.

    Yields:
        How many transactions were committed.
    """
    stop, done = threading.Event(), 0

    def work() -> None:
        nonlocal done
        with supabase.owner() as link:
            while not stop.is_set():
                try:
                    with link.transaction():
                        _one(link, done)
                except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
                    return  # it was frozen
                done += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: done
    finally:
        stop.set()
        thread.join()


def _one(link: psycopg.Connection[tuple[object, ...]], number: int) -> None:
    link.execute('insert into public."Users" ("Mixed Case", "select") values (%s, %s)', [f"new {number}", number])
    link.execute("update public.worn set b = %s where id = %s", [f"at {number}", 1 + number % 40])
    link.execute("insert into public.logs values (%s, now())", [f"new {number}"])
    link.execute("update auth.users set phone = %s where id = md5(%s)::uuid", [str(number), f"user{1 + number % 400}"])
    if number % 3 == 0:
        link.execute("delete from public.slots where id = %s", [1 + number % 30])
        link.execute("insert into public.slots (id, room) values (%s, %s) on conflict do nothing",
                     [1000 + number, number])  # fmt: skip


def kill(step: str, supabase: Project, appliance: Server, database: str, said: str) -> None:
    """Begin a step, and end it where it says this."""
    command = [sys.executable, "-m", "tests.supabase.follower", step, appliance.socket, database, str(supabase.file)]
    kill_at(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO), said)
