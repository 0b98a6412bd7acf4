"""What the databases of a stack want from a person, asked for and carried out over the administrative socket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from app.backup import care
from app.backup.care import Advice
from infra.components.database import administer

HELD = """
select 1 from pg_file_settings
where name = 'default_transaction_read_only' and sourcefile like '%/postgresql.auto.conf'
"""
"""Asked of the file, since the superuser who asks is exempt."""


def examine(socket: str, *, pages: bool = True) -> Iterator[Advice]:
    """Everything that wants care; ``socket`` is the folder of the administrative socket. See `care.examine`."""
    return care.examine(partial(administer, socket), pages=pages)


def read_only(socket: str) -> bool:
    """Whether the guard over the disk's room keeps everyone from writing."""
    with administer(socket) as link:
        return link.execute(HELD).fetchone() is not None


def carry_out(socket: str, advice: Advice) -> None:
    """Do what mends it; others read and write meanwhile.

    Raises:
        psycopg.Error: Postgres would not.
    """
    with administer(socket, advice.database) as link:
        link.execute(advice.statement.encode())
