"""The jobs, one a process: what they do goes out as lines of JSON, ``{"say": …}`` and at last ``{"result": …}``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from app.backup import (
    aside,
    cluster,
    copy,
    major,
    manifest,
    places,
    point,
    reach,
    references,
    restore,
    schedule,
    status,
    vault,
)
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
    jobs.add_parser("behind")
    jobs.add_parser("drilled").add_argument("outcome", type=json.loads)
    jobs.add_parser("show").add_argument("point")
    jobs.add_parser("verify").add_argument("--copy")
    checked = jobs.add_parser("check")
    checked.add_argument("point")
    checked.add_argument("--time", default="")
    jobs.add_parser("copies")
    jobs.add_parser("copy").add_argument("name")
    fetched = jobs.add_parser("fetch")
    fetched.add_argument("name")
    fetched.add_argument("--as-of", default="")
    jobs.add_parser("expire")
    jobs.add_parser("open").add_argument("point")
    recover = jobs.add_parser("restore")
    recover.add_argument("point")
    recover.add_argument("--time", default="")
    recover.add_argument("--redis", default="", metavar="UID:GID")
    recover.add_argument("--objects", default="", metavar="UID:GID")
    taken = jobs.add_parser("extract")
    for name in ("point", "database"):
        taken.add_argument(name)
    for name in ("--time", "--table"):
        taken.add_argument(name, default="")
    jobs.add_parser("take").add_argument("database")
    bucket = jobs.add_parser("bucket")
    for name in ("point", "bucket", "side"):
        bucket.add_argument(name)
    bucket.add_argument("--time", default="")
    jobs.add_parser("carry").add_argument("version")
    jobs.add_parser("serve").add_argument("version")
    jobs.add_parser("forget")
    args = parser.parse_args(argv)
    os.umask(0o077)
    try:
        _tell(result=globals()[f"_{args.job}"](args))
    except (Failed, OSError) as error:
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
        report(
            point_id=made.id,
            point_size=made.size,
            point_added=made.added,
            point_fenced=made.postgres.fenced,
            references_error=references.wrong(made.references),
            references_absent=sum(each.absent for each in made.references),
            references_unnamed=sum(each.unnamed for each in made.references),
        )
        point.expire(settings, _say)
        return _row(made) | {"wrong": references.wrong(made.references)}


def _list(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [_row(each) for each in manifest.points()] if vault.REPOSITORY.exists() else []


def _state(args: argparse.Namespace) -> dict[str, Any]:
    """What became of the jobs, and how the archive stands."""
    known = status.read()
    due = schedule.drill_due(Settings.read().drill, time.time(), known.get("drill_succeeded"), known.get("began"))
    archive = {"wal_waiting": Shipper().oldest(), "same_disk": places.same_disk()}
    return known | archive | {"drill_due": due, "copies": _known_of_copies()}


def _flush(args: argparse.Namespace) -> str:
    """Bring all that was written until now into the archive."""
    return point.flush()


def _behind(args: argparse.Namespace) -> float:
    """How far the archive is behind."""
    return reach.behind()


def _drilled(args: argparse.Namespace) -> None:
    """Note how a drill of a point ended elsewhere."""
    status.drilled(**args.outcome)


def _show(args: argparse.Namespace) -> dict[str, Any]:
    return manifest.find(args.point).data()


def _verify(args: argparse.Namespace) -> float:
    started = time.monotonic()
    if args.copy:
        target = Settings.read().copy(args.copy)
        with copy.alone(target, _say), status.job("verify", target.status):
            copy.verify(target, _say)
        return round(time.monotonic() - started, 1)
    with point.alone("verifying"), status.job("verify"):
        vault.prepare()
        point.verify(_say)
    return round(time.monotonic() - started, 1)


def _check(args: argparse.Namespace) -> None:
    """Whether a restore of the point would find all it needs."""
    restore.check(args.point, args.time, _say)


def _copies(args: argparse.Namespace) -> dict[str, Any]:
    """What became of each copy, and the key that an SSH host must let in."""
    return {"copies": _known_of_copies(), "ssh": copy.public_key()}


def _known_of_copies() -> dict[str, Any]:
    return {each.name: status.read(each.status) for each in Settings.read().copies}


def _copy(args: argparse.Namespace) -> dict[str, Any]:
    settings = Settings.read()
    target = settings.copy(args.name)
    started = time.monotonic()
    with copy.alone(target, _say), status.job("copy", target.status) as report:
        found = copy.bring(target, settings.days, status.read(target.status).get("point", ""), _say)
        report(**found)
    return found | {"seconds": round(time.monotonic() - started, 1)}


def _fetch(args: argparse.Namespace) -> dict[str, Any]:
    moment = cluster.parse(args.as_of) if args.as_of else None
    return copy.fetch(Settings.read().copy(args.name), moment, _say)


def _expire(args: argparse.Namespace) -> list[str]:
    with point.alone("expiring points"):
        vault.prepare()
        return point.expire(Settings.read(), _say)


def _open(args: argparse.Namespace) -> dict[str, Any]:
    """All that makes the stack again: the manifest, its settings and its secrets."""
    return restore.read(args.point)


def _restore(args: argparse.Namespace) -> dict[str, Any]:
    return restore.fill(args.point, args.time, _say, redis=args.redis, objects=args.objects)


def _extract(args: argparse.Namespace) -> dict[str, Any]:
    return aside.extract(args.point, args.time, args.database, args.table, _say)


def _take(args: argparse.Namespace) -> dict[str, Any]:
    with point.alone("restoring a database"):  # a point that is made meanwhile would hold half of it
        return aside.take(args.database, _say)


def _bucket(args: argparse.Namespace) -> dict[str, Any]:
    return aside.bucket(args.point, args.time, args.bucket, args.side, _say)


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
