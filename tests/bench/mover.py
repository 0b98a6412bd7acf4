"""Copy or verify as a process of its own: ``python -m tests.bench.mover WHAT SOCKET DATABASE FILE IMAGE``.

Its last line is the most memory that it had, in KiB.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import psycopg

from app.migrate import source, verify
from app.migrate.copy import Copy
from app.migrate.scope import Selection
from infra import dumper

PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def main(what: str, socket: str, database: str, file: str, image: str) -> None:
    connect = partial(psycopg.connect, host=socket, user="postgres", dbname=database)
    found, say = source.read(Path(file)), partial(print, flush=True)
    if what == "copy":
        Copy(found, connect, dumper.of(image), Selection(), None, say).run()
    elif not verify.verify(found, connect, say).same:
        raise SystemExit("not the same")
    # Of this program alone: what waiting for it would tell is at least what its parent had.
    print(PEAK.findall(Path("/proc/self/status").read_text())[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
