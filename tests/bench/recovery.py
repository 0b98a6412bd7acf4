"""Takes the figures of ``docs/benchmarks-backup.md``: ``python -m tests.bench.recovery``.

What points and restores cost, each beside the bare tool on the same data in the same run. It brings up a stack of its
own and removes it again.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docker

from checks.store import Store
from infra import atomic
from infra.site import REPO
from tests.bench import machine
from tests.bench.machine import middle, run, timed
from tests.bench.page import Promise, head
from tests.conftest import Appliance

PAGE = REPO / "docs" / "benchmarks-backup.md"
DATABASE = "postgres"
CONNECTION = ("-h", "/run/postgresql", "-U", "postgres")
OBJECTS = 200
Say = Callable[[str], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--scale", type=int, default=140, help="of pgbench (140: 2.1 GB)")
    parser.add_argument("--rounds", type=int, default=2)
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
            text = _measure(stack, args.scale, args.rounds, load, say)
        finally:
            for name in ("look", stack.name):
                made = Appliance(name, stack.root, {})
                if made.site.stack_file(name).exists():
                    made.maia("destroy", "--yes", name)
    atomic.write(args.out, text, mode=0o644)
    say(f"written: {args.out}")


def _measure(stack: Appliance, scale: int, rounds: int, load: float, say: Say) -> str:
    say("filling it")
    _in(stack, "postgres", "pgbench", "-i", "-q", "-s", str(scale), *CONNECTION, DATABASE)
    store = Store(stack.stack.plan, stack.site).objects()
    store.make_bucket("bench")
    for number in range(OBJECTS):
        store.put_object("bench", str(number), io.BytesIO(bytes([number % 256]) * 2**20), 2**20)
    size = int(_in(stack, "postgres", "psql", *CONNECTION, "-Atc", "select pg_database_size('postgres')"))
    say("the bare tool: its stanza")
    bare = ("pgbackrest", "--config=/run/secrets/pgbackrest.conf", "--stanza=main", "--repo1-path=/archive/bare")
    _in(stack, "backup", *bare, "stanza-create")
    found: dict[str, list[float]] = {"bare": [], "postgres": [], "point": [], "unchanged": []}
    for number in range(rounds):
        say(f"full backups, in turns ({number + 1} of {rounds})")
        found["bare"].append(timed(partial(_in, stack, "backup", *bare, "--type=full", "--no-archive-check", "backup")))
        point, postgres = _point(stack, "--kind", "full")
        found["point"].append(point)
        found["postgres"].append(postgres)
    for number in range(rounds):
        say(f"points of an unchanged appliance ({number + 1} of {rounds})")
        found["unchanged"].append(_point(stack)[0])
    say("latency, alone and beside a backup")
    alone = _p99(stack)
    with stack.start("backup", "--kind", "full"):
        beside = _p99(stack)
    say("restore")
    told = stack.maia("restore", "--into", "look", check=False)
    filled = re.search(r"\] restore: done after (?:(\d+) min )?([\d.]+) s", told.stderr)
    assert filled, told.stderr[-3000:]
    restored = 60 * int(filled[1] or 0) + float(filled[2])
    found["files"] = [_between(told.stderr, "restore", "postgres: files of", "postgres: playing")]
    say("the bare tool: its restore")
    found["laid"] = [_laid(stack, bare)]
    say("the bare way: pg_restore and a copy of the objects")
    plain = _plain(stack)
    return _page(stack, size, rounds, load, {name: middle(each) for name, each in found.items()}, (alone, beside),
                 restored, plain)  # fmt: skip


def _in(stack: Appliance, part: str, *command: str) -> str:
    return run("docker", "exec", f"maia-{stack.name}-{part}", *command, seconds=1800)


def _point(stack: Appliance, *more: str) -> tuple[float, float]:
    """Seconds of a point, and of that until Postgres's files are in the archive."""
    began = time.monotonic()
    told = stack.maia("backup", *more).stderr
    took = time.monotonic() - began
    return took, _between(told, "backup", "postgres:", "cut")


def _between(told: str, verb: str, first: str, then: str) -> float:
    """Seconds between two of a verb's steps."""
    marks = [re.search(rf"^\[ *([\d.]+)s\] {verb}: {what}", told, re.MULTILINE) for what in (first, then)]
    assert marks[0], told[-3000:]
    assert marks[1], told[-3000:]
    return float(marks[1][1]) - float(marks[0][1])


def _laid(stack: Appliance, bare: Sequence[str]) -> float:
    """Seconds of a bare `pgbackrest restore` into an empty folder, from the bare tool's own backup."""
    client = docker.from_env()
    part = stack.stack.plan.container("backup")
    helper: Any = client.containers.run(
        part.image_id,
        entrypoint=["sleep", "infinity"],
        detach=True,
        init=True,
        name="maia-bench-bare",
        user="0:0",
        network_mode="none",
        volumes_from=[part.name],
        volumes={"maia-bench-bare": {"bind": "/scratch", "mode": "rw"}},
    )
    try:
        words = ("docker", "exec", "--user", "postgres", helper.name, *bare, "--pg1-path=/scratch/data", "--type=none")
        run("docker", "exec", helper.name, "install", "-d", "-m", "700", "-o", "postgres", "/scratch/data")
        run("docker", "exec", helper.name, "chown", "-R", "postgres", "/archive/bare")
        return timed(partial(run, *words, "--archive-mode=off", "restore", seconds=1800))
    finally:
        helper.remove(force=True)
        client.volumes.get("maia-bench-bare").remove()


def _p99(stack: Appliance) -> float:
    """Milliseconds within which 99 of 100 of pgbench's transactions end, 4 clients, 15 seconds."""
    script = (
        f"cd /tmp && rm -f p99.* && pgbench -n -c 4 -j 2 -T 15 -l --log-prefix=p99 {' '.join(CONNECTION)} {DATABASE}"
        " >/dev/null && cut -d' ' -f3 p99.* | sort -n | awk '{v[NR]=$1} END {print v[int(NR*0.99)]}'; rm -f p99.*"
    )
    return float(_in(stack, "postgres", "sh", "-c", script).split()[-1]) / 1000


def _plain(stack: Appliance) -> float:
    """Seconds of `pg_restore -j2` into a new database, and of a copy of the object store's files."""
    client, plan = docker.from_env(), stack.stack.plan
    name, dump = "maia-bench-dump", "/var/tmp/dump"
    part = plan.container("postgres")
    sockets = stack.site.sockets(stack.name) / "postgres"
    helper: Any = client.containers.run(
        part.image_id,
        entrypoint=["sleep", "infinity"],
        detach=True,
        init=True,
        name=name,
        user="0:0",
        volumes=[f"{sockets}:/run/postgresql", f"maia-{stack.name}-minio-data:/objects:ro"],
    )
    try:
        run("docker", "exec", name, "pg_dump", "-Fc", "-f", dump, *CONNECTION, DATABASE, seconds=1800)
        run("docker", "exec", name, "createdb", *CONNECTION, "plain")
        return timed(
            partial(run, "docker", "exec", name, "pg_restore", "-j2", "-d", "plain", *CONNECTION, dump, seconds=1800)
        ) + timed(partial(run, "docker", "exec", name, "cp", "-a", "/objects", "/var/tmp/objects", seconds=1800))
    finally:
        helper.remove(force=True, v=True)
        _in(stack, "postgres", "dropdb", "--if-exists", *CONNECTION, "plain")


def _page(
    stack: Appliance,
    size: int,
    rounds: int,
    load: float,
    found: dict[str, float],
    latency: tuple[float, float],
    restored: float,
    plain: float,
) -> str:
    promises = [
        Promise("Postgres's part of a full point, as multiple of bare `pgbackrest backup`",
                found["postgres"] / found["bare"], 1.15, "times"),
        Promise("Postgres's files in a restore, as multiple of bare `pgbackrest restore`",
                found["files"] / found["laid"], 1.15, "times"),
        Promise("a restore (files, WAL, comparison of every table, objects), as multiple of `pg_restore -j2` and `cp`",
                restored / plain, 1.5, "times"),
        Promise("an incremental point of an unchanged appliance", found["unchanged"], 10, "s"),
    ]  # fmt: skip
    version = stack.stack.plan.container("postgres").version
    how = "medians, what is compared taken in turns in the same run"
    of = f"Postgres {version}, {size / 1e9:.1f} GB of pgbench's tables, {OBJECTS} objects of 1 MiB"
    return "\n".join(
        [
            *head(
                "Benchmarks of backup and restore", "tests.bench.recovery", how, of, promises, rounds=rounds, load=load
            ),
            "| | |",
            "|---|---:|",
            f"| bare `pgbackrest backup --type=full`, same settings | {found['bare']:.1f} s |",
            f"| Postgres's part of a full point | {found['postgres']:.1f} s |",
            f"| the whole point, with the digest of every table | {found['point']:.1f} s |",
            f"| a point when nothing was written since the last | {found['unchanged']:.1f} s |",
            f"| bare `pgbackrest restore` of them, same settings | {found['laid']:.1f} s |",
            f"| the same files in a restore | {found['files']:.1f} s |",
            f"| restore into empty volumes, with the comparison | {restored:.1f} s |",
            f"| `pg_restore -j2` of the same database and `cp -a` of the objects | {plain:.1f} s |",
            f"| p99 of pgbench's transactions, 4 clients, alone | {latency[0]:.1f} ms |",
            f"| the same beside a full point | {latency[1]:.1f} ms |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
