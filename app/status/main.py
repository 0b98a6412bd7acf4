"""The status page as an ASGI application: ``app.status.main:app``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import httpx
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.common import http as clients
from app.common import settings
from app.common.cached import Cached
from app.status import exit_proxy, metrics, page, snapshot
from app.status.plan import PlanFile, PlanUnreadable
from app.status.prometheus import Prometheus, Unreachable
from app.status.settings import Settings
from app.status.snapshot import Snapshot

KEPT = 5.0
"""Seconds that measurements are kept, however many people look."""


class State(TypedDict):
    settings: Settings
    http: httpx.AsyncClient
    plan: PlanFile
    prometheus: Prometheus
    snapshot: Cached[Snapshot]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    told = settings.read(Settings)
    async with clients.client() as http:
        prometheus = Prometheus(http, told.prometheus)
        yield State(
            settings=told,
            http=http,
            plan=PlanFile(told.plan),
            prometheus=prometheus,
            snapshot=Cached(lambda: snapshot.take(http, prometheus, told.exit), KEPT),
        )


async def show(request: Request) -> Response:
    """The page."""
    state = request.state
    plan = state.plan.read()
    now: Snapshot = await state.snapshot.get()
    metrics.PAGES.labels(now.verdict(plan)[0]).inc()
    return HTMLResponse(page.render(state.settings, plan, now), headers=page.HEADERS)


async def health(request: Request) -> Response:
    """200 while the page has all it needs, else 503 and what is missing."""
    found = {"plan": "ok", "prometheus": "ok"}
    try:
        request.state.plan.read()
    except PlanUnreadable as error:
        found["plan"] = str(error)
    try:
        await request.state.prometheus.ready()
    except Unreachable as error:
        found["prometheus"] = str(error)
    good = set(found.values()) == {"ok"}
    return Response(json.dumps(found), status_code=200 if good else 503, media_type="application/json")


async def measure(request: Request) -> Response:
    """Metrics, read from the exit proxy at each scrape."""
    state = request.state
    try:
        counters = await exit_proxy.read(state.http, state.settings.exit)
        metrics.EXIT.tell(counters, counters.by_part(state.plan.read(), state.settings.part))
    except exit_proxy.Unreadable:
        metrics.EXIT.tell(None, {})
    return Response(generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def asset(name: str, kind: str) -> Route:
    async def serve(request: Request) -> Response:
        return Response(page.asset(name), media_type=kind, headers={"Cache-Control": "max-age=86400"})

    return Route(f"/status/{name}", serve)


async def unreadable(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"The plan cannot be read: {error}\n", status_code=503)


app = Starlette(
    routes=[
        Route("/status/", show),
        asset("style.css", "text/css"),
        asset("icon.svg", "image/svg+xml"),
        Route("/health", health),
        Route("/metrics", measure),
    ],
    exception_handlers={PlanUnreadable: unreadable},
    lifespan=lifespan,
)
