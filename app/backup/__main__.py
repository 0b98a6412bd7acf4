"""The jobs, one a process: what they do goes out as lines of JSON, ``{"say": …}`` and at last ``{"result": …}``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from app.backup import major, manifest, places, point, restore, status, vault
from app.backup.command import Failed
from app.backup.manifest import Manifest
from app.backup.places import Settings
from app.backup.wal import Shipper


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m app.backup")
    jobs = parser.add_subparsers(dest="job", required=True)
    jobs.add_parser("make").add_argument("--kind", choices=("full", "diff", "incr"))
    jobs.add_parser("list")
    jobs.add_parser("state")
    jobs.add_parser("flush")
    jobs.add_parser("show").add_argument("point")
    jobs.add_parser("verify")
    jobs.add_parser("expire")
    jobs.add_parser("open").add_argument("point")
    recover = jobs.add_parser("restore")
    recover.add_argument("point")
    recover.add_argument("--time", default="")
    recover.add_argument("--redis", default="", metavar="UID:GID")
    recover.add_argument("--objects", default="", metavar="UID:GID")
    jobs.add_parser("carry").add_argument("version")
    jobs.add_parser("serve").add_argument("version")
    jobs.add_parser("forget")
    args = parser.parse_args(argv)
    os.umask(0o077)
    try:
        _tell(result=globals()[f"_{args.job}"](args))
    except Failed as error:
        _tell(error=str(error))
        return 1
    return 0


def _tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def _say(text: str) -> None:
    _tell(say=text)


def _make(args: argparse.Namespace) -> dict[str, Any]:
    settings = Settings.read()
    with point.alone("making a point"), status.job("point") as report:
        made = point.make(settings, _say, args.kind)
        report(made)
        point.expire(settings, _say)
        return _row(made)


def _list(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [_row(each) for each in manifest.points()] if vault.REPOSITORY.exists() else []


def _state(args: argparse.Namespace) -> dict[str, Any]:
    """What became of the jobs, and how the archive stands."""
    return status.read() | {"wal_waiting": Shipper().oldest(), "same_disk": places.same_disk()}


def _flush(args: argparse.Namespace) -> str:
    """Bring all that was written until now into the archive."""
    return point.flush()


def _show(args: argparse.Namespace) -> dict[str, Any]:
    return manifest.find(args.point).data()


def _verify(args: argparse.Namespace) -> float:
    started = time.monotonic()
    with point.alone("verifying"), status.job("verify"):
        vault.prepare()
        point.verify(_say)
    return round(time.monotonic() - started, 1)


def _expire(args: argparse.Namespace) -> list[str]:
    with point.alone("expiring points"):
        vault.prepare()
        return point.expire(Settings.read(), _say)


def _open(args: argparse.Namespace) -> dict[str, Any]:
    """All that makes the stack again: the manifest, its settings and its secrets."""
    return restore.read(args.point)


def _restore(args: argparse.Namespace) -> dict[str, Any]:
    return restore.fill(args.point, args.time, _say, redis=args.redis, objects=args.objects)


def _carry(args: argparse.Namespace) -> dict[str, Any]:
    return major.carry(args.version, _say)


def _serve(args: argparse.Namespace) -> str:
    return major.serve(args.version)


def _forget(args: argparse.Namespace) -> list[str]:
    return major.forget()


def _row(made: Manifest) -> dict[str, Any]:
    """A line of the list."""
    return {
        "id": made.id,
        "moment": made.moment,
        "kind": made.postgres.kind,
        "size": made.size,
        "added": made.added,
        "seconds": made.seconds,
        "release": made.release,
    }


if __name__ == "__main__":
    sys.exit(main())
