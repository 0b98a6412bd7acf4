"""What stands before every endpoint: API key, size of bodies, pages of other origins, one shape of errors, measures."""

from __future__ import annotations

import logging
import time
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth import metrics
from app.auth.bodies import LONGEST
from app.auth.context import Service
from app.auth.database import Unavailable
from app.auth.errors import Refused, answer

OPEN = frozenset({"/health", "/metrics", "/.well-known/jwks.json", "/verify", "/authorize"})
"""What is asked for without an API key: where browsers are led to, and what has no secret."""
HEADERS = "authorization, apikey, content-type, x-client-info, x-supabase-api-version"
EXPOSED = "x-total-count, link, x-supabase-api-version, x-sb-error-code, retry-after"

log = logging.getLogger("maia.auth")


class Gate:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        service: Service = scope["state"]["service"]
        status = 500
        allowed = _allowed(service, headers.get("origin", ""))

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(raw=message["headers"])
                out.setdefault("cache-control", "no-store")
                out["x-content-type-options"] = "nosniff"
                if allowed:
                    out["access-control-allow-origin"] = allowed
                    out["access-control-expose-headers"] = EXPOSED
                    out.add_vary_header("Origin")
            await send(message)

        try:
            response = await self._inner(scope, receive, told, headers, service)
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, told)
        route = scope.get("route")
        name = route.path if route else "none"
        metrics.REQUESTS.labels(name, f"{status // 100}xx").observe(time.perf_counter() - began)

    async def _inner(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, service: Service
    ) -> Response | None:
        """The answer where the endpoint gave none."""
        if scope["method"] == "OPTIONS":
            return _preflight(headers)
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            _require_key(scope, headers, service)
            await self._app(scope, _bounded(receive, headers), noted)
        except ClientDisconnect:
            raise
        except Refused as refused:
            found = refused
        except Unavailable:
            log.warning("the database does not answer")
            found = Refused(503, "unexpected_failure", "The database does not answer, try again", after=1)
        except Exception as error:
            log.error("a request failed: %s", _place(error))
            found = Refused(500, "unexpected_failure", "Unexpected failure")
        else:
            return None
        if started:
            raise RuntimeError("an answer broke off")
        return answer(found, headers)


def _require_key(scope: Scope, headers: Headers, service: Service) -> None:
    if scope["path"] in OPEN and scope["method"] in ("GET", "HEAD"):
        return
    key = headers.get("apikey", "")
    if not key:
        raise Refused(401, "no_authorization", "No API key found in request")
    if service.tokens.role(key) is None:
        raise Refused(401, "no_authorization", "Invalid API key")


def _bounded(receive: Receive, headers: Headers) -> Receive:
    """The body, but never more than ``LONGEST`` bytes of it."""
    too_large = Refused(413, "request_entity_too_large", f"The body is longer than {LONGEST} bytes")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > LONGEST:
        raise too_large
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LONGEST:
            raise too_large
        return message

    return counted


def _allowed(service: Service, origin: str) -> str:
    """The origin, where its pages may call us."""
    policy = service.policy
    if "*" in policy.origins:
        return "*"
    site = "/".join(policy.site_url.split("/")[:3])
    return origin if origin and (origin == site or origin in policy.origins) else ""


def _preflight(headers: Headers) -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
            "access-control-allow-headers": HEADERS,
            "access-control-max-age": "600",
        },
    )


async def unrouted(request: Request, error: Exception) -> Response:
    """What no endpoint answers, in the same shape."""
    assert isinstance(error, HTTPException)
    about = {404: "There is no such endpoint", 405: "The method is not allowed here"}
    message = about.get(error.status_code, "The request cannot be answered")
    return answer(Refused(error.status_code, "validation_failed", message), request.headers)


def _place(error: BaseException) -> str:
    """Kind and place of an error, without its text: that may quote what is nobody's business."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " < ".join(f"{frame.filename}:{frame.lineno}" for frame in frames[:-6:-1])
