"""Takes the figures of ``docs/benchmarks-move.md``: ``python -m tests.bench.move``.

How long the copy of a database takes, beside what else copies one, and what memory it needs as the database grows. The
two servers are containers of the appliance's image, with its settings and their data on the disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from app.schema import migrate
from infra import atomic
from infra.site import REPO
from tests import postgres
from tests.bench import machine
from tests.bench.others import WORK, Others, others
from tests.bench.page import Promise, head
from tests.postgres import Server

PAGE = REPO / "docs" / "benchmarks-move.md"
FREIGHT = (Path(__file__).parent / "freight.sql").read_text()
DIVIDED = "-- ------------------------------------------------------------\n"
ROWS = {"people": 40_000, "events": 3_000_000, "entries": 80_000, "vectors": 45_000, "near": 2_000}
"""Of a gigabyte."""
PASSWORD = "freight"
DATABASE = "freight"
SETTINGS = """
listen_addresses = '*'
max_connections = 60
shared_buffers = 512MB
maintenance_work_mem = 128MB
max_parallel_workers = 2
max_parallel_workers_per_gather = 1
random_page_cost = 1.1
effective_io_concurrency = 200
wal_level = logical
wal_compression = lz4
max_wal_size = 2GB
checkpoint_timeout = 15min
"""
"""As templates/postgres has it for a part with 2 GiB and two processors."""
ACCESS = "host all all all scram-sha-256\n"
OURS, COMPARED, COPYDB = "maia migrate copy", "maia migrate verify", "pgcopydb clone"
DUMP, PLAIN = "pg_dump -Fd -j2, pg_restore -j2", "the same, uncompressed (-Z0)"
SCRIPTS = {
    DUMP: f'pg_dump -Fd -j2 -f {WORK}/dump -d "$FROM"; pg_restore -j2 -d "$TO" {WORK}/dump',
    PLAIN: f'pg_dump -Fd -j2 -Z0 -f {WORK}/dump -d "$FROM"; pg_restore -j2 -d "$TO" {WORK}/dump',
    COPYDB: f'pgcopydb clone --dir {WORK}/copydb --source "$FROM" --target "$TO"',
}
RIVALS = (DUMP, COPYDB)
"""Those that the copy must not be slower than."""
HELD = """
select (select count(*) from pg_class where relkind = 'i' and relnamespace = 'public'::regnamespace),
  (select count(*) from pg_constraint where connamespace = 'public'::regnamespace and convalidated),
  (select count(*) from public.events), (select count(*) from public.entries), (select count(*) from public.embeddings)
"""
"""What must be there at the end, whoever moved it."""
Say = Callable[[str], None]


@dataclass
class Taken:
    """What was measured at one size."""

    size: int
    """Bytes of the tables."""
    indexes: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    work: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of a processor, of all that took part."""
    memory: dict[str, int] = field(default_factory=dict)
    """The most that a process of ours had, in KiB."""

    def middle(self, what: str) -> float:
        return machine.middle(self.seconds[what])


@dataclass(frozen=True)
class Bench:
    source: Server
    target: Server
    others: Others
    file: Path
    say: Say

    def take(self, size: float, rounds: int, ways: Sequence[str]) -> Taken:
        """Fill the source anew and move it, everybody in turn."""
        self.say(f"{size:g} GB are made")
        self._fill(size)
        with self.source.connect(DATABASE) as link:
            row = link.execute(
                """select sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) from pg_class
                   where relkind = 'r' and relnamespace = 'public'::regnamespace"""
            ).fetchone()
        assert row
        taken = Taken(int(row[0]), int(row[1]))
        for number in range(rounds):
            for way in (*ways[number % len(ways) :], *ways[: number % len(ways)]):
                self._turn(way, taken)
        return taken

    def _fill(self, size: float) -> None:
        self.source.drop(DATABASE)
        self.source.create(DATABASE)
        text = FREIGHT
        for name, count in ROWS.items():
            text = text.replace(f":{name}", str(max(100, round(count * size))))
        first, *middle, last = text.split(DIVIDED)
        self._execute(first)
        with ThreadPoolExecutor(len(middle)) as pool:
            for done in [pool.submit(self._execute, part) for part in middle]:
                done.result()
        self._execute(last)
        self._execute("vacuum analyze")

    def _execute(self, statements: str) -> None:
        with self.source.connect(DATABASE, autocommit=True) as link:
            link.execute(statements.encode())

    def _turn(self, way: str, taken: Taken) -> None:
        self.target.drop("maia")
        self.target.create("maia", template="bare" if way == OURS else "template0")
        for server in (self.source, self.target):
            with server.connect(autocommit=True) as link:
                link.execute("checkpoint")
        if way == OURS:
            self._ours("copy", way, taken)
            self._ours("verify", COMPARED, taken)
        else:
            given = f'FROM="{self.file.read_text().strip()}"; TO="host=/run/postgresql user=postgres dbname=maia"'
            self._timed(taken, way, lambda: self.others.run(f"{given}; {SCRIPTS[way]}"))
        found = []
        for server, database in ((self.source, DATABASE), (self.target, "maia")):
            with server.connect(database) as link:
                found.append(link.execute(HELD).fetchone())
        if found[0] != found[1]:
            raise SystemExit(f"{way}: {found[1]} is there of {found[0]}")

    def _ours(self, what: str, name: str, taken: Taken) -> None:
        image = str(self.target.container.attrs["Image"])
        words = [what, self.target.socket, "maia", str(self.file), image]

        def run() -> float:
            with tempfile.TemporaryFile() as said:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.mover", *words], stdout=said, stderr=said
                )
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                said.seek(0)
                text = said.read().decode()
                if process.returncode:
                    raise SystemExit(text[-3000:])
            taken.memory[name] = max(taken.memory.get(name, 0), int(text.split()[-1]))
            return used.ru_utime + used.ru_stime

        self._timed(taken, name, run)

    def _timed(self, taken: Taken, way: str, action: Callable[[], float | None]) -> None:
        before, began = self._worked(), time.monotonic()
        own = action() or 0.0
        took = time.monotonic() - began
        work = self._worked() - before + own
        taken.seconds.setdefault(way, []).append(took)
        taken.work.setdefault(way, []).append(work)
        self.say(f"{way}: {took:.1f} s, {work:.1f} s of a processor")

    def _worked(self) -> float:
        """Seconds that the servers and the programs had a processor."""
        containers = (self.source.container, self.target.container, self.others.container)
        found: list[Any] = [each.stats(stream=False) for each in containers]
        return float(sum(each["cpu_stats"]["cpu_usage"]["total_usage"] for each in found) / 1e9)


@contextmanager
def bench(folder: Path, say: Say) -> Iterator[Bench]:
    """Both servers and the programs, removed in the end."""
    for name in ("from", "to"):
        (folder / name).mkdir()
    common: dict[str, Any] = {"settings": SETTINGS, "access": ACCESS, "network": "bridge", "disk": True}
    folder.chmod(0o755)
    with (
        postgres.server(folder / "from", "maia-bench-from", **common) as source,
        postgres.server(folder / "to", "maia-bench-to", **common) as target,
        others("maia-bench-others", "bridge", Path(target.socket), say) as programs,
    ):
        with source.connect(autocommit=True) as link:
            link.execute(f"alter role postgres password '{PASSWORD}'".encode())
        target.create("bare")
        migrate.migrate(partial(target.connect, "bare"), lambda _: None)
        file = folder / "source"
        file.touch(mode=0o600)
        file.write_text(
            psycopg.conninfo.make_conninfo(
                host=source.address, user="postgres", password=PASSWORD, dbname=DATABASE, sslmode="disable"
            )
        )
        yield Bench(source, target, programs, file, say)


def page(taken: Sequence[Taken], versions: Sequence[str], rounds: int, load: float) -> str:
    """The whole page; the last size is the one that was moved by everybody."""
    most = taken[-1]
    faster = min(most.middle(rival) for rival in RIVALS)
    copy, verify = most.middle(OURS), most.middle(COMPARED)
    first = taken[0].memory[OURS]
    promises = [
        Promise("the copy, as multiple of the speed of the faster of the two", faster / copy, 1, "times", least=True),
        Promise("copy and verify, as multiple of its time", (copy + verify) / faster, 1.5, "times"),
        Promise(
            f"memory of the copy, as multiple of that at {_size(taken[0])}", most.memory[OURS] / first, 1.25, "times"
        ),
    ]
    of = f"{', '.join(versions)}, from Debian 13"
    return "\n".join(
        [
            *head(
                "Benchmarks of the move",
                "tests.bench.move",
                "in turns in one run",
                of,
                promises,
                rounds=rounds,
                load=load,
            ),
            f"## {_size(most)} of rows, and what else moves them",
            "",
            "Both servers are containers of the appliance's image with its settings for two processors, `fsync` on and",
            "data on the disk; the source is reached over TCP, the target by its socket. The copy and pgcopydb gather",
            "statistics at the end, pg_restore does not. Compared are the copy and the faster of pgcopydb and pg_dump",
            "as it compresses by default. A processor's seconds are those of both servers and of the program; they say",
            "more than the others on a machine that has other work.",
            "",
            "| | seconds | of a processor |",
            "|---|---:|---:|",
            *(f"| {way} | {most.middle(way):.1f} | {machine.middle(most.work[way]):.1f} |" for way in most.seconds),
            "",
            "The data is made: narrow rows with a reference and three indexes, texts and documents of some kilobytes,",
            "vectors of 1,536 dimensions, of which a few have an HNSW index, and forty small tables",
            "(`tests/bench/freight.sql`).",
            "",
            "## Memory",
            "",
            "| rows | indexes | copy | of the process, at most | verify | at most |",
            "|---:|---:|---:|---:|---:|---:|",
            *(
                f"| {_size(each)} | {each.indexes / 1e9:.2f} GB | {each.middle(OURS):.1f} s"
                f" | {each.memory[OURS] / 1024:.0f} MiB | {each.middle(COMPARED):.1f} s"
                f" | {each.memory[COMPARED] / 1024:.0f} MiB |"
                for each in taken
            ),
            "",
        ]
    )


def _size(taken: Taken) -> str:
    return f"{taken.size / 1e9:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.move", description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.25, 1, 2.5], help="gigabytes, roughly")
    parser.add_argument("--rounds", type=int, default=3, help="of the largest size; the others have one")
    parser.add_argument("--only", choices=[OURS, DUMP, PLAIN, COPYDB], action="append", help="no page is written")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    args = parser.parse_args()
    say, load = machine.clock(), machine.load()

    sizes = sorted(args.sizes)
    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder, bench(Path(folder), say) as prepared:
        smaller = [prepared.take(size, 1, args.only or [OURS]) for size in sizes[:-1]]
        largest = prepared.take(sizes[-1], args.rounds, args.only or [DUMP, PLAIN, OURS, COPYDB])
        versions = [prepared.others.version(name) for name in ("pgcopydb", "pg_dump")]
    if not args.only:
        atomic.write(args.out, page([*smaller, largest], versions, args.rounds, load), mode=0o644)
        say(f"written: {args.out}")


if __name__ == "__main__":
    main()
