"""Move a project of Supabase to this appliance: planned, copied, verified.

FILE holds one line, the connection string of the source, and is its owner's alone (chmod 600). `plan` changes nothing
on either side.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from app.migrate.plan import Plan
    from app.migrate.scope import Selection

LARGEST = 10
"""How many tables are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plan = actions.add_parser("plan", help="what comes over, what changes, what stays and why; changes nothing")
    for action in (plan,):
        action.add_argument("--source", type=Path, metavar="FILE", required=True, help="describes the source")
        action.add_argument("--schema", action="append", default=[], metavar="NAME", help="only this one")
        action.add_argument("--table", action="append", default=[], metavar="SCHEMA.NAME", help="only this one")
        action.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    from infra import migrate
    from infra.progress import Progress

    stack = common.started(args)
    if not stack.plan.has("postgres"):
        raise MaiaError("disabled", where="maia:parts.postgres", mend="enable it and run maia up")
    with Progress() as progress, progress.step("looking at both sides"):
        found = migrate.plan(stack, args.source, _selection(args))
    return _tell(found, as_json=args.json)


def _selection(args: argparse.Namespace) -> Selection:
    from app.migrate.scope import Selection

    for name in args.table:
        if not all(name.partition(".")):
            raise MaiaError(f"{name!r} is no table", where="--table", mend="name it as SCHEMA.NAME")
    return Selection.of(args.schema, args.table)


def _tell(plan: Plan, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(plan.document(), indent=2, ensure_ascii=False))
        return int(bool(plan.refusals))
    from rich.table import Table

    from app.migrate.verdicts import TOLD
    from infra.progress import seconds
    from infra.sizes import size

    kinds = Table("kind", *TOLD.values(), box=None, pad_edge=False)
    for kind, counts in plan.document()["kinds"].items():
        kinds.add_row(kind, *(str(counts.get(outcome) or "") for outcome in TOLD))
    common.show(kinds)
    told = Table("kind", "name", "outcome", "why", box=None, pad_edge=False)
    for each in plan.verdicts:
        if each.why:
            told.add_row(each.kind, each.name, TOLD[each.outcome], each.why)
    common.show(told)
    largest = Table("largest tables", "rows", "size", "indexes", box=None, pad_edge=False)
    for table in sorted(plan.taken, key=lambda table: -table.size - table.indexes)[:LARGEST]:
        largest.add_row(table.full, str(table.rows), size(table.size), size(table.indexes))
    common.show(largest)
    for remark in plan.remarks:
        print(f"note:     {remark}")
    estimate = plan.document()["estimate"]
    print(
        f"estimate: {len(plan.taken)} tables, {estimate['rows']} rows, {size(estimate['bytes'])}, "
        f"{size(estimate['index_bytes'])} of indexes; about {seconds(plan.seconds)} to copy and to compare"
    )
    for refusal in plan.refusals:
        print(f"refused:  {refusal} ({refusal.mend})")
    return int(bool(plan.refusals))
