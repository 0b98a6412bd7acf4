"""What was plaintext in ``public``, encrypted at once with a key that is never in the database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from app.schema import sealed


@dataclass(frozen=True)
class Key:
    """A service's key, and by what it is known."""

    identity: uuid.UUID
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.identity})"

    def enclose(self, table: str, column: str, row: str, text: str) -> bytes:
        return sealed.seal(self.secret, self.identity, text.encode(), _place(table, column, row), mark=sealed.ENVELOPED)

    def disclose(self, table: str, column: str, row: str, content: bytes) -> str:
        """What was enclosed for this place.

        Raises:
            Unreadable: it was not, or not with this key.
        """
        return sealed.open_(self.secret, content, _place(table, column, row)).decode()


def _place(table: str, column: str, row: str) -> bytes:
    return f"{table}/{column}/{row}".encode()
