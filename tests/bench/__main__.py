"""Takes every figure of ``docs/benchmarks.md`` and writes them there: ``python -m tests.bench``.

It brings up a stack of its own in a temporary site, beside whatever runs, and removes it again. Nothing here is a
test: figures belong to the machine and the day, which the page names.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from infra import atomic
from infra.site import REPO
from tests.bench import appliance, machine, page, postgres
from tests.conftest import Appliance

PAGE = REPO / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    args = parser.parse_args()
    say = machine.clock()

    rounds = 1 if args.quick else 3
    load = machine.load()
    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder:
        root = Path(folder)
        stack = Appliance(
            "bench",
            root / "site",
            {"version": 1, "subnet": "10.87.0.0/20", "gateway": {"names": ["localhost"], "https": 37443}},
        )
        stack.write()
        try:
            first = appliance.first(stack, say)
            unchanged, bare = appliance.unchanged(stack, rounds, say)
            (root / "plain").mkdir()
            queries = postgres.compare(
                stack.stack, root / "plain", seconds=2 if args.quick else 15, rounds=rounds, say=say
            )
            (root / "compose").mkdir()
            started, compose, version = appliance.started(stack, root / "compose", 1 if args.quick else 2, say)
            text = page.write(
                load=load,
                versions=page.versions(stack.stack.plan, version),
                parts=len(stack.stack.plan.containers),
                first=first,
                unchanged=unchanged,
                bare=bare,
                started=started,
                compose=compose,
                queries=queries,
                rounds=rounds,
            )
        finally:
            say("removing the stack")
            stack.maia("destroy", "--yes", stack.name)
    atomic.write(args.out, text, mode=0o644)
    say(f"written: {args.out}")


if __name__ == "__main__":
    main()
