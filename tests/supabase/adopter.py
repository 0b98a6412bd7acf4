"""An adoption as a process of its own, to be killed: ``python -m tests.supabase.adopter SOCKET DATABASE``."""

from __future__ import annotations

import sys
import uuid
from functools import partial

import psycopg

from app.migrate.adopt.adoption import adopt
from app.migrate.adopt.envelope import Key

KEY = Key(uuid.UUID(int=7), b"k" * 32)


def main(socket: str, database: str) -> None:
    connect = partial(psycopg.connect, host=socket, user="postgres", dbname=database)
    adopt(connect, KEY, partial(print, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
