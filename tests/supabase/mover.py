"""The copy as a process of its own, to be killed: ``python -m tests.supabase.mover SOCKET DATABASE SOURCE IMAGE``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import psycopg

from app.migrate import source
from app.migrate.copy import Copy
from app.migrate.scope import Selection
from infra import dumper


def main(socket: str, database: str, file: str, image: str) -> None:
    connect = partial(psycopg.connect, host=socket, user="postgres", dbname=database)
    say = partial(print, flush=True)
    Copy(source.read(Path(file)), connect, dumper.of(image), Selection(), None, say, jobs=2).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
