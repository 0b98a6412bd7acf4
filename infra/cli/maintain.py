"""Show what the databases want and how long the disk will last; with --apply, mend what can be mended meanwhile."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from app.backup.care import Advice
    from infra.forecast import Forecast
    from infra.progress import Progress
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="vacuum, analyse and reindex what wants it")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    import psycopg

    from infra import advice
    from infra.progress import Progress

    stack = common.started(args)
    if not stack.plan.has("postgres"):
        raise MaiaError("disabled", where="maia:parts.postgres", mend="there is nothing to maintain")
    socket = stack.postgres
    try:
        with Progress() as progress:
            with progress.step("databases") as say:
                say("reading how full tables and indexes are")
                found = list(advice.examine(socket))
            forecast = _forecast(stack, progress)
            if args.apply:
                found = _apply(stack, socket, found, progress)
    except psycopg.Error as error:
        raise MaiaError(
            " ".join(str(error).split()), where="postgres", mend=f"maia doctor --stack {stack.name}"
        ) from None
    if args.json:
        document = {
            "advice": [dataclasses.asdict(each) for each in found],
            "forecast": dataclasses.asdict(forecast) | {"days": forecast.days} if forecast else None,
        }
        print(json.dumps(document, indent=2))
        return 0
    _show(found, forecast)
    return 0


def _forecast(stack: Stack, progress: Progress) -> Forecast | None:
    """None where nothing measures; that is another finding's business."""
    from infra import forecast

    with progress.step("disk") as say:
        say("asking Prometheus")
        return forecast.of(stack)


def _apply(stack: Stack, socket: str, found: list[Advice], progress: Progress) -> list[Advice]:
    """Do it, and what shows only then: how empty an index is, once its table is vacuumed.

    Returns:
        What is left.
    """
    from infra import advice

    done: set[str] = set()
    with common.locked(stack, "maintain"), progress.step("maintain") as say:
        while wanted := [each for each in found if each.statement and each.statement not in done]:
            for count, each in enumerate(wanted, 1):
                say(f"{count} of {len(wanted)}: {each.database}: {each.statement}")
                advice.carry_out(socket, each)
                done.add(each.statement)
            found = list(advice.examine(socket))
    return found


def _show(found: list[Advice], forecast: Forecast | None) -> None:
    from rich.table import Table

    if found:
        table = Table("database", "object", "what", "mended by", box=None, pad_edge=False)
        for each in found:
            table.add_row(each.database, each.object, each.what, each.statement or "you")
        common.show(table)
        if any(each.statement for each in found):
            print("\n`maia maintain --apply` does it, while everything runs")
    else:
        print("the databases want nothing")
    if forecast:
        print(f"disk:    {forecast}")
