"""Move a project of Supabase to this appliance: planned, copied, followed, verified, cut over, taken back, adopted.

FILE holds one line, the connection string of the source, and is its owner's alone (chmod 600); plan, copy and verify
take a dump too, as pg_dump writes it. `plan` changes nothing on either side, `copy` nothing at the source; `sync` makes
a publication and a slot there, `cutover` freezes it. What is broken off goes on where it was when it is run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import adopt, common, moving
from infra.errors import MaiaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.migrate.journal import Told
    from app.migrate.plan import Plan
    from app.migrate.scope import Selection
    from infra.stack import Stack

LARGEST = 10
"""How many tables are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plan = actions.add_parser("plan", help="what comes over, what changes, what stays and why; changes nothing")
    copy = actions.add_parser("copy", help="bring definitions and rows over, or go on with that")
    verify = actions.add_parser("verify", help="compare every row and definition, with a signed report")
    verify.add_argument("--source", type=Path, metavar="FILE", required=True, help="describes the source")
    moving.add_arguments(actions)
    status = actions.add_parser("status", help="where it stands, who serves, and what became of each object")
    status.add_argument("--source", type=Path, metavar="FILE", help="describes the source, to ask what its slot holds")
    adopt.add_arguments(actions.add_parser("adopt", help="take the application's rows into MAIA's own schema, or back"))
    for action in (plan, copy):
        action.add_argument("--source", type=Path, metavar="FILE", required=True, help="describes the source")
        action.add_argument("--schema", action="append", default=[], metavar="NAME", help="only this one")
        action.add_argument("--table", action="append", default=[], metavar="SCHEMA.NAME", help="only this one")
    for action in (plan, status):
        action.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    stack = common.started(args)
    if not stack.plan.has("postgres"):
        raise MaiaError("disabled", where="maia:parts.postgres", mend="enable it and run maia up")
    if stack.plan.auth and args.action != "status":
        raise MaiaError(
            "a project brings accounts of its own, and the part auth keeps its accounts in the same tables",
            where="migrate",
            mend="move into a stack without maia:parts.auth.enabled",
        )
    match args.action:
        case "plan":
            return _plan(stack, args)
        case "copy":
            return _copy(stack, args)
        case "verify":
            return _verify(stack, args.source)
        case "adopt":
            return adopt.run(stack, args)
        case "status":
            return _status(stack, args.source, as_json=args.json)
        case _:
            return moving.run(stack, args)


def _plan(stack: Stack, args: argparse.Namespace) -> int:
    from infra import migrate
    from infra.progress import Progress

    with Progress() as progress, progress.step("looking at both sides") as say:
        found = migrate.plan(stack, args.source, _selection(args), say)
    return _tell(found, as_json=args.json)


def _copy(stack: Stack, args: argparse.Namespace) -> int:
    from infra import migrate
    from infra.progress import Progress

    with common.locked(stack, "migrate copy"), Progress() as progress, progress.step("copy") as say:
        found = migrate.copy(stack, args.source, _selection(args), say)
    _outcomes(found)
    return int(any(each.kind == "rows" and each.outcome == "left" for each in found))


def _verify(stack: Stack, source: Path) -> int:
    from infra import migrate
    from infra.progress import Progress

    with Progress() as progress:
        with progress.step("engine") as say:
            key = common.signing(stack, common.engine(stack, say).secrets())
        with progress.step("verify") as say:
            found, path = migrate.verify(stack, source, key, say)
    for table in found.differing:
        for row in table.rows:
            what = f"differs in {', '.join(row.columns)}" if row.columns else f"is on {row.where}"
            print(f"differs:  {table.name} {row.name} {what}")
    for each in found.unexplained:
        print(f"differs:  {each.kind} {each.name} is {each.what}")
    same = sum(table.same for table in found.tables)
    rows = sum(table.there.rows for table in found.tables)
    print(f"compared: {same} of {len(found.tables)} tables are the same, {rows} rows")
    if found.differing and not found.untouched:
        print("note:     the source was written to since it was copied; differences may be just that")
    print(f"report:   {path.with_suffix('.html')}; signed: {path.name}")
    return int(not found.same)


def _status(stack: Stack, source: Path | None, *, as_json: bool) -> int:
    from infra import migrate

    run, (done, parts, rows), found = migrate.state(stack)
    if as_json:
        document = {
            "id": run.id,
            "source": run.source,
            "state": run.state,
            "began": run.began,
            "copied": run.copied,
            "parts": {"copied": done, "all": parts},
            "rows": rows,
            "following": moving.document(stack, source),
            "objects": [vars(each) for each in found],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    _outcomes(found)
    print(f"source:   {run.source}, since {run.began[:19]}")
    print(f"state:    {run.state}; {done} of {parts} parts, {rows} rows")
    moving.tell(stack, source)
    return 0


def _outcomes(found: Sequence[Told]) -> None:
    """What is not simply moved, and how much of everything is."""
    from collections import Counter

    from rich.table import Table

    told = Table("kind", "name", "outcome", "why", box=None, pad_edge=False)
    for each in found:
        if each.why or each.outcome not in ("", "moved"):
            told.add_row(each.kind, each.name, each.words, each.why)
    common.show(told)
    counts = Counter(each.words for each in found)
    print("objects:  " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))


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
