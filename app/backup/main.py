"""The part itself, as an ASGI application: ships WAL, keeps the schedule and room to write, tells its metrics."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypedDict

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.backup import copy, metrics, schedule, status
from app.backup.care import Care
from app.backup.guard import Guard
from app.backup.places import Copy, Settings
from app.backup.wal import Shipper

PAUSE = 0.5
"""Seconds between two looks into the spool."""
BACKOFF = 10.0
"""Seconds after a try that failed."""
LOOK = 20.0
"""Seconds between two looks at the clock."""
GLANCE = 5.0
"""Seconds between two looks at the room that is left."""
ROUND = 3600.0
"""Seconds between two looks at what tables and indexes want."""
STALE = 600.0
"""Seconds without a look into the spool, after which the part is not well."""


class State(TypedDict):
    shipper: Shipper
    registry: CollectorRegistry


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    settings = Settings.read()
    shipper, guard, care = Shipper(beat=time.monotonic()), Guard(settings.reserve << 20), Care()
    status.begin()
    copy.clear()
    copies = (_keep_copy(each) for each in settings.copies)
    jobs = (_ship(shipper), _keep_schedule(settings), _keep_room(guard), _look_after(care), *copies)
    tasks = [asyncio.create_task(job) for job in jobs]
    yield State(shipper=shipper, registry=metrics.registry(shipper, guard, care, settings))
    for task in tasks:
        task.cancel()


async def _ship(shipper: Shipper) -> None:
    told = ""
    while True:
        await asyncio.to_thread(shipper.turn)
        if shipper.error != told:
            told = shipper.error
            print(f"wal: {told or 'the archive takes it again'}", flush=True)
        await asyncio.sleep(BACKOFF if shipper.error else PAUSE)


async def _keep_schedule(settings: Settings) -> None:
    while True:
        known = status.read()
        if schedule.due(settings.at, datetime.now(UTC), known.get("point_succeeded"), known.get("point_tried")):
            await _run("make")
        await asyncio.sleep(LOOK)


async def _keep_room(guard: Guard) -> None:
    while True:
        if told := await asyncio.to_thread(guard.turn):
            print(f"room: {told}", flush=True)
        await asyncio.sleep(GLANCE)


async def _look_after(care: Care) -> None:
    while True:
        await asyncio.to_thread(care.turn)
        await asyncio.sleep(ROUND)


async def _keep_copy(target: Copy) -> None:
    while True:
        known, made = status.read(target.status), status.read().get("point_id", "")
        succeeded, tried = known.get("copy_succeeded"), known.get("copy_tried")
        news = made != known.get("point", "")
        if schedule.copy_due(target.every, datetime.now(UTC), succeeded, tried, news=news):
            await _run("copy", target.name)
        await asyncio.sleep(LOOK)


async def _run(*words: str) -> None:
    job = await asyncio.create_subprocess_exec(sys.executable, "-m", "app.backup", *words)
    await job.wait()


async def health(request: Request) -> Response:
    """200 while WAL is looked after, else 503; an archive that refuses it is an alert, not an illness of this part."""
    late = time.monotonic() - request.state.shipper.beat > STALE
    body = {
        "wal": f"not looked after for {STALE:.0f} s" if late else "ok",
        "archive": request.state.shipper.error or "ok",
    }
    return Response(json.dumps(body), status_code=503 if late else 200, media_type="application/json")


async def measure(request: Request) -> Response:
    body = await asyncio.to_thread(generate_latest, request.state.registry)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


app = Starlette(routes=[Route("/health", health), Route("/metrics", measure)], lifespan=lifespan)
