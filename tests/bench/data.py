"""Takes the figures of ``docs/benchmarks-data.md``: ``python -m tests.bench.data``.

How long a query of MAIA's data takes: rows by key and under row security, and the nearest vectors as they become more.
It brings up a stack of its own and removes it again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from infra import atomic
from infra.site import REPO
from tests.bench import machine, sentences
from tests.bench.cloud import DIMENSIONS
from tests.bench.machine import run
from tests.bench.page import Promise, head
from tests.bench.spaces import Made, Real, Space
from tests.conftest import Appliance

PAGE = REPO / "docs" / "benchmarks-data.md"
EACH = 100
"""Memories of one person."""
NEAREST = 10
ENOUGH = 0.95
"""Of the ten nearest, what an index must find."""
WIDTHS = (40, 80, 160, 320, 640)
"""``hnsw.ef_search``, from the default on."""
COMPARED = 100
"""Searches whose answer is compared with the exact one."""
SEARCHES = 1000
"""Searches that are timed."""
CLIENTS = 4
SECONDS = 15
ASKING = """begin;
set local role authenticated;
select set_config('request.jwt.claims', '{"sub":"' || md5('u' || :u)::uuid || '"}', true);
"""
READS = {
    "a row by its key, as a service": r"""\set n random(1, :rows)
select * from maia.memories where id = md5('m' || :n)::uuid;
""",
    "a row by its key, under row security": r"""\set u random(1, :people)
\set n random(1, :each)
"""
    + ASKING
    + "select * from maia.memories where id = md5('m' || ((:u - 1) * :each + :n))::uuid;\ncommit;\n",
    "one's own twenty weightiest, under row security": "\\set u random(1, :people)\n"
    + ASKING
    + "select * from maia.memories where superseded_by is null and kind = 'semantic'"
    " order by significance desc limit 20;\ncommit;\n",
}
"""What is read to its script of pgbench: a transaction as the gateway of the database makes it."""
Say = Callable[[str], None]
Link = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Search:
    count: int
    width: int
    recall: float
    p50: float
    p99: float
    """Milliseconds."""
    built: float
    """Seconds that the index took."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.data", description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--sentences", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--people", type=int, default=1000, help=f"of {EACH} memories each")
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    say, load = machine.clock(), machine.load()

    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder:
        values = {"version": 1, "subnet": "10.87.0.0/20", "gateway": {"names": ["localhost"], "https": 37443}}
        stack = Appliance("bench", Path(folder) / "site", values | {"backup": {"at": None}})
        stack.write()
        try:
            say("a stack")
            stack.maia("up", "--skip-checks")
            socket = str(stack.site.sockets(stack.name) / "postgres")
            with psycopg.connect(host=socket, user="postgres", dbname="maia", autocommit=True) as link:
                say(f"{args.people * EACH} memories")
                _remember(link, args.people)
                reads = {what: _read(stack, script, args.people, say, what) for what, script in READS.items()}
                made = _search(link, Made(), sorted(args.vectors), say)
                say("sentences")
                real = _search(link, Real(max(args.sentences), SEARCHES), sorted(args.sentences), say)
            text = _page(stack, args.people, load, reads, made, real)
        finally:
            stack.maia("destroy", "--yes", stack.name)
    atomic.write(args.out, text, mode=0o644)
    say(f"written: {args.out}")


def _remember(link: Link, people: int) -> None:
    link.execute(
        """insert into maia.users (id, handle, display_name)
        select md5('u' || n)::uuid, 'u' || n, 'User' from generate_series(1, %s) n""",
        [people],
    )
    link.execute(
        """insert into maia.memories (id, user_id, kind, body, significance)
        select md5('m' || n)::uuid, md5('u' || (n - 1) / %s + 1)::uuid, 'semantic', repeat(md5(n::text), 8), random()
        from generate_series(1, %s) n""",
        [EACH, people * EACH],
    )
    link.execute("vacuum analyze maia.users, maia.memories")


def _read(stack: Appliance, script: str, people: int, say: Say, what: str) -> tuple[float, float, float]:
    """Milliseconds of half and of 99 in 100 of the transactions, and how many there were in a second."""
    say(what)
    settings = " ".join(f"-D {k}={v}" for k, v in {"people": people, "each": EACH, "rows": people * EACH}.items())
    shell = (
        f"cd /tmp && cat > read.sql <<'END'\n{script}END\n"
        f"pgbench -n -c {CLIENTS} -j 2 -T {SECONDS} -l --log-prefix=read -f read.sql {settings} "
        "-h /run/postgresql -U postgres maia >/dev/null && cut -d' ' -f3 read.[0-9]* | sort -n "
        "| awk '{v[NR]=$1} END {print v[int(NR/2)], v[int(NR*0.99)], NR}'; rm -f read.*"
    )
    said = run("docker", "exec", f"maia-{stack.name}-postgres", "sh", "-c", shell).split()
    return float(said[0]) / 1000, float(said[1]) / 1000, int(said[2]) / SECONDS


def _search(link: Link, space: Space, counts: Sequence[int], say: Say) -> list[Search]:
    """Every query is a new point, of those that the others are like."""
    there, found = 0, []
    queries = space.queries(SEARCHES)
    space.prepare(link)
    (index,) = link.execute("select pg_get_indexdef(%s::regclass)", [space.index]).fetchone() or ("",)
    for count in counts:
        say(f"{count} vectors of {space.dimensions} dimensions")
        link.execute(f"drop index {space.index}".encode())
        space.fill(link, there, count)
        there = count
        say("their index")
        built = machine.timed(lambda: link.execute(str(index).encode()))
        link.execute(f"vacuum analyze {space.table}".encode())
        say("the exact answers")
        with link.transaction():
            link.execute("set local enable_indexscan = off")
            exact = [_nearest(link, space, query) for query in queries[:COMPARED]]
        for width in WIDTHS:
            link.execute(f"set hnsw.ef_search = {width}".encode())
            hits = [len(_nearest(link, space, query) & right) for query, right in zip(queries, exact)]
            recall = sum(hits) / (NEAREST * len(exact))
            if recall >= ENOUGH or width == WIDTHS[-1]:
                break
        say(f"{SEARCHES} searches, {width} wide")
        took = sorted(machine.timed(lambda query=query: _nearest(link, space, query)) * 1000 for query in queries)  # type: ignore[misc]
        found.append(Search(count, width, recall, took[len(took) // 2], took[int(len(took) * 0.99)], built))
    return found


def _nearest(link: Link, space: Space, query: str) -> set[Any]:
    halves = f"extensions.halfvec({space.dimensions})"
    asked = (
        f"select {space.key} from {space.table} order by embedding::{halves} operator(extensions.<=>) %s::{halves}"
        f" limit {NEAREST}"
    )
    return {key for (key,) in link.execute(asked.encode(), [query])}


def _page(
    stack: Appliance,
    people: int,
    load: float,
    reads: dict[str, tuple[float, float, float]],
    made: list[Search],
    real: list[Search],
) -> str:
    most, true = made[-1], real[-1]
    promises = [
        *(Promise(f"{what}: p99", p99, 5, "ms") for what, (_, p99, _) in reads.items()),
        Promise(f"the {NEAREST} nearest of {most.count:,} vectors: p99", most.p99, 50, "ms"),
        Promise("of them, what an exact search finds too", 100 * most.recall, 100 * ENOUGH, "%", least=True),
        Promise(f"the {NEAREST} nearest of {true.count:,} real sentences: p99", true.p99, 50, "ms"),
        Promise("of them, what an exact search finds too", 100 * true.recall, 100 * ENOUGH, "%", least=True),
    ]
    of = f"Postgres {stack.stack.plan.container('postgres').version}, {people:,} people of {EACH} memories each"
    return "\n".join(
        [
            *head(
                "Benchmarks of MAIA's data", "tests.bench.data", "all in one run", of, promises, rounds=None, load=load
            ),
            "## Rows",
            "",
            f"pgbench, {CLIENTS} clients on the server's own socket, {SECONDS} s each. Under row security a",
            "transaction begins, takes the role, says who asks, reads and ends: five round trips.",
            "",
            "| | p50 | p99 | a second |",
            "|---|---:|---:|---:|",
            *(f"| {what} | {p50:.2f} ms | {p99:.2f} ms | {rate:,.0f} |" for what, (p50, p99, rate) in reads.items()),
            "",
            "## Vectors",
            "",
            f"{DIMENSIONS} dimensions, HNSW over halves as the schema has it, one client, {SEARCHES:,} searches by",
            f"points that are not in the table; `hnsw.ef_search` is the smallest of {', '.join(map(str, WIDTHS))} that",
            f"finds {ENOUGH:.0%} of the {NEAREST} that an exact search finds. The data is made: clusters on a surface",
            "of 32 dimensions (`tests/bench/cloud.py`).",
            "",
            *_curve(made),
            "",
            f"Real ones, of {sentences.DIMENSIONS} dimensions: sentences of the documentation in Python's library, by",
            f"the model that the package {sentences.PACKAGE} ships (`tests/bench/sentences.py`), in a table of their",
            "own with such an index.",
            "",
            *_curve(real),
            "",
        ]
    )


def _curve(searches: Sequence[Search]) -> list[str]:
    return [
        "| vectors | ef_search | recall | p50 | p99 | index built in |",
        "|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {s.count:,} | {s.width} | {s.recall:.1%} | {s.p50:.1f} ms | {s.p99:.1f} ms | {s.built:.0f} s |"
            for s in searches
        ),
    ]


if __name__ == "__main__":
    main()
