"""What is of no more use is taken away: a worker looks now and then, and of several workers one at a time."""

from __future__ import annotations

import asyncio
import logging

import psycopg

from app.auth.database import Connection, Database, one, run
from app.auth.errors import Refused
from app.auth.settings import Policy

PAUSE = 600.0
"""Seconds between two looks."""
KEPT = 7 * 86400
"""Seconds that a mail is kept which nobody sends."""
LOCK = 0x6D616961
"""Of Postgres' advisory locks."""

# Sessions that are over take their refresh tokens with them; while one lasts, all of its tokens are kept, so that a use
# of any old one is known for what it is.
_STALE = (
    "delete from auth.sessions where created_at < now() - make_interval(secs => %(absolute)s) or not_after < now()"
    " or coalesce(refreshed_at at time zone 'UTC', created_at) < now() - make_interval(secs => %(idle)s)",
    "delete from auth.one_time_tokens"
    " where coalesce(expires_at, created_at at time zone 'UTC') < now() - interval '1 day'",
    "delete from auth.flow_state where created_at < now() - interval '1 day'",
    "delete from auth.mfa_challenges where created_at < now() - interval '1 day'",
    "delete from auth.mfa_factors where status = 'unverified' and created_at < now() - interval '1 day'",
    "delete from auth.outbox where created_at < now() - make_interval(secs => %(kept)s)",
)

log = logging.getLogger("maia.auth")


async def tidy(link: Connection, policy: Policy) -> bool:
    """Take away what is stale, in one transaction; False where another worker is at it."""
    async with link.transaction():
        got = await one(link, "select pg_try_advisory_xact_lock(%(lock)s) as got", {"lock": LOCK})
        if not got or not got["got"]:
            return False
        values = {"absolute": policy.absolute_seconds, "idle": policy.idle_seconds, "kept": KEPT}
        for statement in _STALE:
            await run(link, statement, values)
        return True


async def keep_tidy(database: Database, policy: Policy) -> None:
    """Go on until cancelled."""
    while True:
        try:
            async with database.connection() as link:
                await tidy(link, policy)
        except (Refused, psycopg.Error) as error:
            log.warning("nothing was tidied: %s", type(error).__name__)
        await asyncio.sleep(PAUSE)
