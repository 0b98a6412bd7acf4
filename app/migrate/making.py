"""Objects made one by one, so that one that cannot be made is named and the others are there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

from app.migrate import journal
from app.migrate.dump import Entry
from app.migrate.refused import told
from app.migrate.target import RETRIED, TRIES, Connect, Link, acting, opened, serious
from app.migrate.verdicts import Outcome

Say = Callable[[str], None]

OURS = ("EXTENSION", "ACL", "DEFAULT ACL")
"""Kinds that only a superuser may make here, as the schemas are the appliance's; their text is pg_dump's alone."""
NAME = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
TABLE = re.compile(rf"(?:ALTER TABLE (?:ONLY )?|CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?)({NAME}\.{NAME})")
"""The table that a piece is of: pg_dump does not say that an index needs it."""
SLOW = re.compile(r" USING (?:hnsw|ivfflat|gin|gist) ")
"""Indexes that take longer to build than the size of their table says."""
FIRST = ("INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "STATISTICS", "COMMENT", "INDEX ATTACH")
"""Kinds that are made before what needs them."""
AFTER = ("COMMENT", "INDEX ATTACH")
"""Of these, what comes after all indexes, as it may be said of one; the others are made side by side."""


def early(link: Link, say: Say) -> None:
    """What must be there before the rows are; in rounds, as a dump's order does not know what functions call."""
    while waiting := journal.pending(link, early=True):
        failed: list[tuple[Entry, str]] = []
        for number, entry in enumerate(waiting, start=1):
            say(f"{number} of {len(waiting)}: {entry.kind.lower()} {entry.label}")
            if fault := _make(link, entry):
                failed.append((entry, fault))
        if len(failed) == len(waiting):
            for entry, fault in failed:
                journal.became(link, entry.number, "left", fault)


def late(connect: Connect, path: str, jobs: int, say: Say) -> None:
    """Indexes and constraints side by side, then what needs them in its order."""
    with opened(connect, path) as link:
        waiting = journal.pending(link, early=False)
        _side_by_side(connect, path, jobs, groups(waiting, journal.sizes(link)), say)
        rest = [entry for entry in waiting if entry.kind not in FIRST or entry.kind in AFTER]
        rest.sort(key=lambda entry: (entry.kind != "INDEX ATTACH", entry.kind != "FK CONSTRAINT"))
        for number, entry in enumerate(rest, start=1):
            say(f"{number} of {len(rest)}: {entry.kind.lower()} {entry.label}")
            if fault := _make(link, entry):
                journal.became(link, entry.number, *_without_check(link, entry, fault))


def groups(waiting: Iterable[Entry], sizes: Mapping[str, int]) -> list[list[Entry]]:
    """What one connection makes at a time, so that none waits for another's lock: a table's constraints, or one index.

    What takes longest comes first, as what is begun last is waited for: indexes of the slow kinds, then the largest
    tables; constraints before indexes, which they would keep waiting.
    """
    found: dict[tuple[int, int, str, int], list[Entry]] = {}
    for entry in waiting:
        if entry.kind in FIRST and entry.kind not in AFTER:
            alone = entry.kind == "INDEX"
            table = named[1] if (named := TABLE.match(entry.text)) else ""
            turn = 0 if not alone else 1 if SLOW.search(entry.text) else 2
            found.setdefault((turn, -sizes.get(table, 0), table, entry.number if alone else 0), []).append(entry)
    return [found[key] for key in sorted(found)]


def _side_by_side(connect: Connect, path: str, jobs: int, groups: Sequence[Sequence[Entry]], say: Say) -> None:
    done, total, queue = 0, sum(map(len, groups)), iter(groups)

    def work() -> None:
        nonlocal done
        with opened(connect, path) as link:
            for group in queue:  # which all share
                for entry in group:
                    done += 1
                    say(f"{done} of {total}: {entry.kind.lower()} {entry.label}")
                    if fault := _make(link, entry):
                        journal.became(link, entry.number, *_without_check(link, entry, fault))

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()


def _make(link: Link, entry: Entry, text: str = "", outcome: Outcome = "moved", why: str = "") -> str:
    """Make it, and note it, in one transaction.

    Returns:
        Why it could not be made; empty where it was.
    """
    for attempt in range(TRIES):
        try:
            with link.transaction():
                if entry.kind in OURS:
                    link.execute((text or entry.text).encode())
                else:
                    with acting(link):
                        link.execute((text or entry.text).encode())
                _note(link, entry, outcome, why)
            return ""
        except psycopg.Error as error:
            serious(error)
            if error.sqlstate not in RETRIED or attempt == TRIES - 1:
                return told(error)
            time.sleep(0.1 * 2**attempt)
    raise AssertionError


def _note(link: Link, entry: Entry, outcome: Outcome, why: str) -> None:
    """It was judged before: what was changed in it makes it a change."""
    link.execute(
        """update maia_migrate.objects set why = concat_ws('; ', nullif(why, ''), nullif(%s, '')),
             outcome = case when %s = 'moved' and change then 'changed' else %s end where number = %s""",
        [why, outcome, outcome, entry.number],
    )


def _without_check(link: Link, entry: Entry, fault: str) -> tuple[Outcome, str]:
    """A constraint that rows of the source break holds for new ones; what else cannot be made is left."""
    unchecked = entry.text.rstrip().rstrip(";") + " NOT VALID;"
    breakable = entry.kind in ("FK CONSTRAINT", "CHECK CONSTRAINT") and "violate" in fault
    if breakable and not _make(link, entry, unchecked, "changed", f"not valid: {fault}"):
        return "changed", ""
    return "left", fault
