"""Bring MAIA's database to this release's schema, say where it stands, compare it, open it, or embed its texts.

`migrate` applies what is pending, whole versions or nothing. `status` also looks for what breaks the schema's rules and
for changes past the log. `diff` compares with a database made anew beside it. `shell` is psql, as the schema's owner or
as a user whom --as names. `reembed` makes the vectors that are missing or of an older text, by an embedder here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.stack import Stack


EMBEDDER = "http://127.0.0.1:11434"
MODEL = "nomic-embed-text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("migrate", help="apply what is pending")
    status = actions.add_parser("status", help="say where it stands")
    status.add_argument("--json", action="store_true")
    actions.add_parser("diff", help="show how it differs from this release's schema")
    reembed = actions.add_parser("reembed", help="make the vectors of a model that are missing")
    reembed.add_argument("--embedder", metavar="URL", default=EMBEDDER, help="one that speaks as Ollama does")
    reembed.add_argument("--model", default=MODEL, help="one of maia.embedding_models")
    shell = actions.add_parser("shell", help="open it with psql")
    shell.add_argument("--as", dest="user", metavar="UUID", help="as this user meets it, with row security")


def run(args: argparse.Namespace) -> int:
    import psycopg

    stack = common.started(args)
    if not stack.plan.has("postgres"):
        raise MaiaError("disabled", where="maia:parts.postgres", mend="enable it and run maia up")
    if not stack.plan.database:
        raise MaiaError("disabled", where="maia:database.enabled", mend="enable it and run maia up")
    if args.action == "shell":
        return _shell(stack, args.user)
    socket = stack.postgres
    try:
        match args.action:
            case "migrate":
                return _migrate(stack, socket)
            case "reembed":
                return _reembed(socket, args.embedder, args.model)
            case "diff":
                return _diff(socket)
            case _:
                return _status(socket, as_json=args.json)
    except psycopg.Error as error:
        raise MaiaError(
            " ".join(str(error).split()), where="postgres", mend=f"maia doctor --stack {stack.name}"
        ) from None


def _migrate(stack: Stack, socket: str) -> int:
    from infra import schema
    from infra.progress import Progress

    with common.locked(stack, "db migrate"), Progress() as progress, progress.step("schema") as say:
        applied = schema.bring(socket, say, schema.wanted(stack.plan))
    print(f"applied: {', '.join(applied)}" if applied else "nothing to apply")
    return 0


def _reembed(socket: str, url: str, model: str) -> int:
    """Beside whatever else is at work: it may take hours, and changes no definition."""
    from infra import schema
    from infra.progress import Progress

    with Progress() as progress, progress.step("vectors") as say:
        made = schema.reembed(socket, url, model, say)
    for texts, count in made.items():
        print(f"embedded: {count} of {texts}")
    return 0


def _diff(socket: str) -> int:
    from infra import schema
    from infra.progress import Progress

    with Progress() as progress, progress.step("schema") as say:
        found = schema.differences(socket, say)
    print("\n".join(found) or "the same")
    return int(bool(found))


def _status(socket: str, *, as_json: bool) -> int:
    from infra import schema

    state, findings, root = schema.state(socket), schema.findings(socket), schema.root(socket)
    if as_json:
        document = {
            "version": state.version,
            "pending": state.pending,
            "ahead": state.ahead,
            "faults": state.faults,
            "findings": findings,
            "log": root,
        }
        print(json.dumps(document, indent=2))
    else:
        print(f"version: {state.version or 'none'}")
        print(f"pending: {', '.join(state.pending) or 'nothing'}")
        if state.ahead:
            print(f"ahead:   {', '.join(state.ahead)}, of a newer release")
        for fault in (*state.faults, *findings):
            print(f"fault:   {fault}")
        print(f"log:     {root or 'none'}")
    return int(bool(state.faults or findings))


def _shell(stack: Stack, user: str | None) -> int:
    """Hand over to psql in the part's container."""
    from infra.place import DOCKER

    options = "-c role=maia_owner"
    if user:
        try:
            claims = json.dumps({"sub": str(uuid.UUID(user)), "role": "authenticated"}, separators=(",", ":"))
        except ValueError:
            raise MaiaError(f"{user!r} is no UUID", where="--as", mend="take one of maia.users") from None
        options = f"-c role=authenticated -c request.jwt.claims={claims}"
    container = common.running(stack, "postgres")
    where = f"host=/run/postgresql user=postgres dbname={stack.plan.database}"
    terminal = ["-it"] if sys.stdin.isatty() else ["-i"]
    command = ["docker", "exec", *terminal, "-e", f"PGOPTIONS={options}", str(container.name), "psql", "-X", where]
    at = stack.place
    there = {"DOCKER_HOST": f"unix://{at.socket(DOCKER)}"} if at.name else {}
    return subprocess.run(command, env=os.environ | there, check=False).returncode
