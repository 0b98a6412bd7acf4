"""A copy of the project as tests make it, and what they ask of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from app.migrate import source
from app.migrate.copy import Copy
from app.migrate.journal import Told
from app.migrate.plan import Plan
from app.migrate.scope import Selection
from infra import dumper
from tests.postgres import Server
from tests.supabase import compare
from tests.supabase.project import Project


def told(planned: Plan, kind: str, name: str) -> tuple[str, str]:
    """Outcome and reason of one object."""
    found = [each for each in planned.verdicts if (each.kind, each.name) == (kind, name)]
    assert len(found) == 1, [each.name for each in planned.verdicts if each.kind == kind]
    return found[0].outcome, found[0].why


def copier(
    supabase: Project,
    appliance: Server,
    database: str,
    image: str,
    say: Callable[[str], None] = lambda _: None,
    **more: Any,
) -> Copy:
    """A copy into one of the appliance's databases."""
    found = source.read(more.pop("described", supabase.file))
    to = partial(psycopg.connect, host=appliance.socket, user="postgres", dbname=database)
    return Copy(found, to, dumper.of(image), more.pop("chosen", Selection()), None, say, **more)


def same_rows(
    supabase: Project, appliance: Server, database: str, chosen: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Tables that are not as they are at the source, of those that come over."""
    with supabase.platform() as link:
        there = compare.rows(link, chosen)
    with appliance.connect(database) as link:
        here = compare.rows(link, chosen)
    stays = {"vault", "cron", "realtime", "supabase_migrations"}
    return [
        name for name, found in there.items()
        if name.partition(".")[0] not in stays and name != "public.closed" and here.get(name) != found
    ]  # fmt: skip


def became(moved: list[Told], kind: str, name: str) -> tuple[str, str]:
    found = [each for each in moved if (each.kind, each.name) == (kind, name)]
    assert len(found) == 1, [each for each in moved if each.kind == kind]
    return found[0].outcome, found[0].why


def idle(appliance: Server, database: str) -> bool:
    with appliance.connect() as link:
        query = "select count(*) from pg_stat_activity where datname = %s"
        return link.execute(query, [database]).fetchone() == (0,)
