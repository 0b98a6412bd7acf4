"""What the copy tells on its way, and what it makes side by side."""

from __future__ import annotations

from collections.abc import Callable

from app.migrate import making
from app.migrate.dump import Entry
from app.migrate.journal import Part
from app.migrate.pace import Pace
from app.migrate.tables import Table

MIB = 1 << 20


def table(oid: int, name: str, rows: int, size: int) -> Table:
    return Table(
        oid, "public", name, "r", "p", rows, size, size, 0, size // 8192, readable=True, hidden=False, secured=False,
        key=(), columns=(),
    )  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def paced(clock: Callable[[], float]) -> tuple[Pace, list[Part]]:
    """A large table of which one part of four was copied before, and a small one."""
    large, small = table(1, "large", 4000, 300 * MIB), table(2, "small", 10, 25 * MIB)
    missing = [Part(1, 2, 0, 1), Part(1, 3, 1, 2), Part(1, 4, 2, None), Part(2, 1, 0, None)]
    return Pace([large, small], {1: 4, 2: 1}, missing, clock), missing


def test_a_table_and_all_tell_their_share_their_pace_and_the_time_that_is_left() -> None:
    clock = Clock()
    pace, (second, *_) = paced(clock)
    pace.begin(second)
    clock.now = 10
    told = pace.reached(second, 1000, whole=True)
    assert told == "public.large: 50%, 1000 rows, 100 rows/s, 20 s left; all: 30%, 23 s left"


def test_a_part_tells_its_share_by_its_rows_once_a_second_and_is_whole_only_at_its_end() -> None:
    clock = Clock()
    pace, (*_, small) = paced(clock)
    pace.begin(small)
    clock.now = 2
    assert pace.reached(small, 5).startswith("public.small: 50%, 5 rows, 2 rows/s, 2 s left")
    assert pace.reached(small, 6) == ""
    clock.now = 4
    assert pace.reached(small, 5000).startswith("public.small: 99%")
    assert pace.reached(small, 5000, whole=True).startswith("public.small: 100%, 5000 rows, 1250 rows/s; all: 10%")


def test_a_table_without_statistics_and_nothing_done_promises_no_time() -> None:
    clock = Clock()
    part = Part(1, 1, 0, None)
    pace = Pace([table(1, "new", 0, 0)], {1: 1}, [part], clock)
    pace.begin(part)
    clock.now = 5
    assert pace.reached(part, 7) == "public.new: 0%, 7 rows, 1 rows/s, some time left; all: 0%, some time left"
    assert pace.reached(part, 7, whole=True) == "public.new: 100%, 7 rows, 1 rows/s; all: 100%"


def entry(number: int, kind: str, text: str) -> Entry:
    return Entry(number, (0, 0), (), kind, "public", "", text)


def test_constraints_of_a_table_are_made_by_one_and_each_index_by_itself_what_takes_longest_first() -> None:
    waiting = [
        entry(1, "CONSTRAINT", 'ALTER TABLE ONLY public.small\n    ADD CONSTRAINT "p ON public.x" PRIMARY KEY (id);'),
        entry(2, "CONSTRAINT", 'ALTER TABLE ONLY public."La rge"\n    ADD CONSTRAINT l PRIMARY KEY (id);'),
        entry(3, "CONSTRAINT", 'ALTER TABLE ONLY public."La rge"\n    ADD CONSTRAINT u UNIQUE (a);'),
        entry(4, "INDEX", 'CREATE INDEX "i ON public.small" ON public."La rge" USING btree (a);'),
        entry(5, "INDEX", "CREATE UNIQUE INDEX j ON ONLY public.small USING btree (b);"),
        entry(8, "INDEX", "CREATE INDEX k ON public.small USING hnsw (c);"),
        entry(6, "INDEX ATTACH", "ALTER INDEX public.j ATTACH PARTITION public.k;"),
        entry(7, "FK CONSTRAINT", "ALTER TABLE ONLY public.small\n    ADD CONSTRAINT f FOREIGN KEY (b) ..."),
    ]
    groups = making.groups(waiting, {'public."La rge"': 9, "public.small": 1})
    assert [[entry.number for entry in group] for group in groups] == [[2, 3], [1], [8], [4], [5]]
