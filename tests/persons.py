"""The people of the tests of the schema, and requests as they come from them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

Link = psycopg.Connection[tuple[Any, ...]]

ADA, BEN, EVE = (uuid.UUID(int=number) for number in (0xADA, 0xBEE, 0xE7E))


@contextmanager
def acting(
    link: Link, role: str, claims: dict[str, Any] | None = None, dialect: str = "request.jwt.claims"
) -> Iterator[None]:
    """As a request of this role and token; whatever it does is undone."""
    with link.transaction(force_rollback=True):
        if dialect == "request.jwt.claim.sub":
            link.execute("select set_config('request.jwt.claim.sub', %s, true)", [(claims or {}).get("sub", "")])
        elif claims is not None:
            link.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        link.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        yield


def token(user: uuid.UUID, **more: Any) -> dict[str, Any]:
    return {"sub": str(user), "role": "authenticated", **more}
