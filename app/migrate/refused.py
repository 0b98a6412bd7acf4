"""What a person must know and can mend."""

from __future__ import annotations

from typing import Any

import psycopg


class Refused(Exception):
    """A step was not made, or broken off.

    Args:
        what: what is wrong.
        where: the object, file or server it concerns.
        mend: the way on.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(f"{where}: {what}" if where else what)


def told(error: psycopg.Error) -> str:
    """An error in one line, without what the rows hold."""
    found: Any = error.diag
    primary = found.message_primary or " ".join(str(error).split())
    if error.sqlstate in QUOTING:
        return str(primary)
    return " ".join(f"{primary}{f': {found.message_detail}' if found.message_detail else ''}".split())


QUOTING = frozenset({"23514", "23502"})
"""Whose detail quotes the whole row that failed: a CHECK, a NOT NULL."""
LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""The connection is gone, or could not be had."""
