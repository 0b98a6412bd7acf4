"""Security events, each added in the transaction of the change that it tells of."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from app.auth.database import Connection, run
from app.auth.keys import Keys

STRANGERS = 16
"""Chains for what concerns nobody's account: enough that they do not wait for each other."""

_ADD = """
select auth.audit(%(about)s::uuid, %(action)s, %(outcome)s, %(actor)s::uuid, %(address)s::inet, %(detail)s::jsonb)
"""


async def add(
    link: Connection,
    about: UUID,
    action: str,
    *,
    address: str | None,
    actor: UUID | None = None,
    refused: bool = False,
    **detail: Any,
) -> None:
    """An event.

    Args:
        about: whose account it concerns.
        address: where it came from.
        actor: who did it; by default the same.
        refused: it was asked for and not done.
        detail: more of it, never a secret nor an address of mail.
    """
    await run(
        link,
        _ADD,
        {
            "about": about,
            "action": action,
            "outcome": "refused" if refused else "done",
            "actor": actor,
            "address": address,
            "detail": json.dumps(detail),
        },
    )


async def stranger(
    link: Connection, keys: Keys, email: str, action: str, *, address: str | None, **detail: Any
) -> None:
    """A refusal about an address without an account: in one of a few chains, told by a digest of the address."""
    name = keys.subject(f"stranger {email}")
    about = UUID(int=1 + name[0] % STRANGERS)
    await add(link, about, action, address=address, refused=True, stranger=name.hex(), **detail)
