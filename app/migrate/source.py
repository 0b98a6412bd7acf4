"""The database that is moved, only ever read: where it is, and connections to it."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.migrate.refused import Refused, told
from app.migrate.verdicts import Verdict

Link = psycopg.Connection[tuple[Any, ...]]

WORDS = {
    "host", "hostaddr", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "channel_binding",
    "connect_timeout", "target_session_attrs",
}  # fmt: skip
"""What a description may say."""
LIVELY = {
    "connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "5", "keepalives_count": "4",
    "client_encoding": "UTF8",
}  # fmt: skip
"""A network that was cut is noticed within a minute."""
SESSION = """
set session characteristics as transaction read only;
set statement_timeout = 0; set lock_timeout = '30s'; set idle_in_transaction_session_timeout = 0;
set row_security = off; set synchronize_seqscans = off; set client_min_messages = error;
"""
"""A role that row security would hide rows from gets an error instead."""


@dataclass(frozen=True)
class Source:
    """A server, a database, and a role that reads it.

    Args:
        label: how it is told, where it is not by its server.
        lost: what it should have and has not, because it could not be loaded there.
    """

    words: dict[str, str] = field(repr=False)
    label: str = ""
    lost: tuple[Verdict, ...] = ()

    @property
    def name(self) -> str:
        """How it is told, without the password."""
        given = self.words
        return (
            self.label
            or f"{given.get('user', '')}@{given.get('host', '')}:{given.get('port', '5432')}/{given.get('dbname', '')}"
        )

    @property
    def password(self) -> str:
        return self.words.get("password", "")

    def conninfo(self, **more: str) -> str:
        """For a program that takes the password from a file."""
        given = {key: value for key, value in self.words.items() if key != "password"}
        return make_conninfo("", **LIVELY | given | more)

    def connect(self, *, autocommit: bool = True) -> Link:
        """A connection that cannot write.

        Raises:
            Refused: it cannot be had, and why.
        """
        try:
            link = psycopg.connect(self.conninfo(application_name="maia migrate"), password=self.password or None)
        except psycopg.OperationalError as error:
            raise Refused(
                " ".join(str(error).split()), self.name, "compare host, role, password and sslmode in the source's file"
            ) from None
        try:
            link.execute(SESSION)
            link.commit()
        except psycopg.Error as error:
            link.close()
            raise Refused(told(error), self.name, "take the direct connection, not one through a pooler") from None
        link.autocommit = autocommit
        return link


def read(path: Path) -> Source:
    """The source that a file describes: one line, an address (``postgresql://…``) or words (``host=… user=…``).

    Raises:
        Refused: it is not there, not the reader's alone, or does not describe one.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(getattr(error, "strerror", None) or "is not text", str(path), "name a file of one line") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused("others may read it, and it holds a password", str(path), f"chmod 600 {path}")
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.ProgrammingError:  # whose message quotes the line
        raise Refused("is no connection string", str(path), "postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    if unknown := sorted(given.keys() - WORDS):
        raise Refused(f"unknown: {', '.join(unknown)}", str(path), f"known are {', '.join(sorted(WORDS))}")
    if missing := [key for key in ("host", "user", "dbname") if not given.get(key)]:
        raise Refused(f"missing: {', '.join(missing)}", str(path), "postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    # What libpq takes where nothing is said would go on in clear text.
    given.setdefault("sslmode", "verify-full" if "sslrootcert" in given else "require")
    return Source(given)
