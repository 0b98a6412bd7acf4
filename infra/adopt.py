"""The introduction of moved rows into MAIA's own schema, from the machine's side: the database, and the key."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial

from app.migrate.adopt import adoption
from app.migrate.adopt import undo as back
from app.migrate.adopt.envelope import Key
from app.migrate.adopt.outcome import Outcome, Undone
from infra import credentials, migrate
from infra.errors import MaiaError
from infra.plan import ENVELOPE
from infra.stack import Stack


def key(stack: Stack, secrets: Mapping[str, str]) -> Key:
    """What services encrypt with; it follows from a secret of the stack's, and is in no container.

    Raises:
        MaiaError: the stack has none yet.
    """
    if ENVELOPE not in secrets:
        raise MaiaError("not made yet", where=f"secrets:{ENVELOPE}", mend=f"maia up --stack {stack.name}")
    secret = secrets[ENVELOPE]
    name = credentials.derived(secret, f"{ENVELOPE} identity")
    return Key(uuid.UUID(name[:32]), bytes.fromhex(credentials.derived(secret, ENVELOPE)))


def plan(stack: Stack, key: Key, say: Callable[[str], None], table: str) -> list[Outcome]:
    """What an adoption would do; it is carried out and taken back.

    Raises:
        MaiaError: there is nothing to adopt from or into.
    """
    with migrate.translated():
        return adoption.plan(partial(migrate.connect, migrate.socket(stack)), key, say, table)


def adopt(stack: Stack, key: Key, say: Callable[[str], None], table: str) -> list[Outcome]:
    """Adopt what was not adopted yet.

    Raises:
        MaiaError: it cannot go on; what was done stays, and the same command goes on from there.
    """
    with migrate.translated():
        return adoption.adopt(partial(migrate.connect, migrate.socket(stack)), key, say, table)


def undo(stack: Stack, say: Callable[[str], None], table: str, *, changed: bool) -> list[Undone]:
    """Remove what was adopted, but for what somebody has changed since.

    Raises:
        MaiaError: it cannot go on; the same command goes on from there.
    """
    with migrate.translated():
        return back.undo(partial(migrate.connect, migrate.socket(stack)), say, table, changed=changed)
