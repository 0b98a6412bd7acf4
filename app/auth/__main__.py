"""What the machine's root asks of the service: ``python -m app.auth outbox`` and ``audit``."""

from __future__ import annotations

import asyncio
import json
import sys

from app.auth import keys, outbox
from app.auth.database import Connection, Database, every, one
from app.auth.settings import Settings
from app.common import settings as variables


async def show_outbox(link: Connection, found: keys.Keys) -> int:
    """One JSON object for each mail that lies here, oldest first."""
    for mail in await outbox.shown(link, found):
        print(json.dumps(mail))
    return 0


async def verify_audit(link: Connection, found: keys.Keys) -> int:
    """One JSON object for each fault in the log, and one at the end; 1 where there is any."""
    faults = await every(link, "select chain::text, number, fault from auth.broken_audit()", {})
    for fault in faults:
        print(json.dumps(fault))
    whole = await one(link, "select count(*) as entries, auth.audit_root() as root from auth.audit_events", {})
    print(json.dumps({**(whole or {}), "faults": len(faults)}))
    return 1 if faults else 0


VERBS = {"outbox": show_outbox, "audit": verify_audit}


async def main(verb: str) -> int:
    told = variables.read(Settings)
    database = Database(told.postgres, 2)
    await database.open()
    try:
        async with database.connection() as link:
            return await VERBS[verb](link, keys.read(told.keys))
    finally:
        await database.close()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in VERBS:
        sys.exit(f"usage: python -m app.auth {'|'.join(VERBS)}")
    sys.exit(asyncio.run(main(sys.argv[1])))
