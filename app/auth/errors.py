"""What is refused, in the one shape that clients of Supabase read."""

from __future__ import annotations

import datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

VERSION_HEADER = "x-supabase-api-version"
VERSION = "2024-01-01"


class Refused(Exception):
    """A request that is not carried out; its text is meant for whoever sent it."""

    def __init__(
        self, status: int, code: str, message: str, *, more: dict[str, Any] | None = None, after: int = 0
    ) -> None:
        """
        Args:
            status: of HTTP.
            code: a word of Supabase's list.
            more: further members of the answer.
            after: seconds after which it is worth another try; 0 says nothing of it.
        """
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.more = more or {}
        self.after = after


def answer(refused: Refused, headers: Headers) -> Response:
    """The answer, in the older or the newer form as the request's header asks."""
    new = _wants_new(headers.get(VERSION_HEADER, ""))
    told: dict[str, Any] = (
        {"code": refused.code, "message": refused.message}
        if new
        else {"code": refused.status, "error_code": refused.code, "msg": refused.message}
    )
    response = JSONResponse(told | refused.more, status_code=refused.status)
    response.headers["x-sb-error-code"] = refused.code
    response.headers["cache-control"] = "no-store"
    if new:
        response.headers[VERSION_HEADER] = VERSION
    if refused.after:
        response.headers["retry-after"] = str(refused.after)
    return response


def _wants_new(asked: str) -> bool:
    try:
        return datetime.date.fromisoformat(asked) >= datetime.date.fromisoformat(VERSION)
    except ValueError:
        return False


def invalid(message: str) -> Refused:
    """A field that is missing or not what it should be."""
    return Refused(400, "validation_failed", message)


def busy() -> Refused:
    """There is more to do than can be done in time."""
    return Refused(503, "request_timeout", "The service is busy, try again", after=1)
