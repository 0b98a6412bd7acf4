"""Following as a process, to be killed: ``python -m tests.supabase.follower STEP SOCKET DATABASE SOURCE``."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psycopg

from app.migrate import slots, source
from app.migrate.sync import Sync
from app.migrate.turn import Turn

say = partial(print, flush=True)


def main(step: str, socket: str, database: str, file: str) -> None:
    connect = partial(psycopg.connect, host=socket, user="postgres", dbname=database)
    sync = Sync(source.read(Path(file)), connect, say)
    turn = Turn(sync, lambda result: "the report")
    match step:
        case "sync":
            sync.run(lambda _: False)
        case "written":  # between the commit here and the slot's forgetting
            with patch.object(slots, "advance", hang):
                sync.run(lambda _: False)
        case "cutover":
            turn.cutover()
        case _:
            turn.rollback()


def hang(*_: object) -> None:
    say("written and not forgotten")
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
