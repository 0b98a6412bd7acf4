"""Copy or verify as a process of its own: ``python -m tests.bench.mover WHAT SOCKET DATABASE FILE IMAGE``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import psycopg

from app.migrate import source, verify
from app.migrate.copy import Copy
from app.migrate.scope import Selection
from infra import dumper


def main(what: str, socket: str, database: str, file: str, image: str) -> None:
    connect = partial(psycopg.connect, host=socket, user="postgres", dbname=database)
    found, say = source.read(Path(file)), partial(print, flush=True)
    if what == "copy":
        Copy(found, connect, dumper.of(image), Selection(), None, say).run()
    elif not verify.verify(found, connect, say).same:
        raise SystemExit("not the same")


if __name__ == "__main__":
    main(*sys.argv[1:])
