"""Bodies of requests: JSON objects, of which only known fields of the right kind are taken."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from uuid import UUID

import idna
from starlette.requests import Request

from app.auth.errors import Refused, invalid

LONGEST = 1 << 20
"""Bytes of the largest body."""
DEEPEST = 64
"""How many objects and lists may stand in each other."""
MAIL_LONGEST = 254
METADATA = 4096
"""Bytes of metadata as JSON: they are in every token, and tokens are in headers."""

_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MAIL = re.compile(rf"{_LOCAL}@{_LABEL}(?:\.{_LABEL})+")


class Body:
    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str, *, longest: int = 4096) -> str:
        """A text; empty where it is missing.

        Raises:
            Refused: it is something else, or too long.
        """
        value = self._fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise invalid(f"{name} must be a text")
        if len(value) > longest:
            raise invalid(f"{name} is too long")
        return value

    def required(self, name: str, *, longest: int = 4096) -> str:
        """
        Raises:
            Refused: it is missing, empty, something else or too long.
        """
        value = self.text(name, longest=longest)
        if not value:
            raise invalid(f"{name} is required")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """
        Raises:
            Refused: it is not true or false.
        """
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid(f"{name} must be true or false")
        return value

    def object(self, name: str) -> dict[str, Any]:
        """
        Raises:
            Refused: it is not an object.
        """
        value = self._fields.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object")
        return value

    def metadata(self, name: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
        """What an account says of itself after a change: what is told replaces by key, and null takes a key away.

        Raises:
            Refused: it is not an object, or more than a token can carry.
        """
        told = {**(known or {}), **self.object(name)}
        made = {key: value for key, value in told.items() if value is not None}
        if len(json.dumps(made)) > METADATA:
            raise invalid(f"{name} is longer than {METADATA} bytes")
        return made

    def mail(self, name: str = "email") -> str:
        """An address of mail in small letters; empty where it is missing."""
        value = self.text(name)
        return mail(value) if value else ""

    def identity(self, name: str) -> UUID | None:
        """
        Raises:
            Refused: it is not a UUID.
        """
        value = self.text(name)
        return identity(value, name) if value else None


async def read(request: Request) -> Body:
    """The body; without one, an object without fields.

    Raises:
        Refused: it is too large, not JSON, not an object, or holds what no text may.
    """
    raw = await request.body()
    if not raw.strip():
        return Body({})
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(400, "bad_json", "The body must be application/json")
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Refused(400, "bad_json", "Could not parse request body as JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "bad_json", "The body must be a JSON object")
    _refuse_untextual(value, 0)
    return Body(value)


def mail(value: str) -> str:
    """An address of mail in small letters.

    Raises:
        Refused: it is not one.
    """
    local, _, domain = value.strip().rpartition("@")
    try:
        named = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        named = ""
    # Only then: some letters become others when they are made small.
    address = f"{local}@{named}".lower() if local.isascii() else ""
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if len(address) > MAIL_LONGEST or dots or not _MAIL.fullmatch(address):
        raise invalid("Unable to validate email address: invalid format")
    return address


def identity(value: str, name: str) -> UUID:
    """
    Raises:
        Refused: it is not a UUID.
    """
    try:
        return UUID(value)
    except ValueError:
        raise invalid(f"{name} must be an UUID") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _refuse_untextual(value: Any, depth: int) -> None:
    """What Postgres could not keep: a NUL, half a letter, or no end of nesting."""
    if depth > DEEPEST:
        raise Refused(400, "bad_json", "The body is nested too deeply")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Refused(400, "bad_json", "The body holds characters that are no text")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_untextual(key, depth + 1)
            _refuse_untextual(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_untextual(item, depth + 1)
