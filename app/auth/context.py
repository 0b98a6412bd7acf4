"""What every endpoint has at hand, and what it learns of a request."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request

from app.auth.database import Database
from app.auth.errors import Refused
from app.auth.keys import Keys
from app.auth.later import Later
from app.auth.limits import Limits
from app.auth.passwords import Hasher
from app.auth.settings import Policy
from app.auth.tokens import Caller, Tokens

AGENT = 400
"""Letters that are kept of the name by which a client calls itself."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a running worker has."""

    policy: Policy
    keys: Keys
    tokens: Tokens
    database: Database
    hasher: Hasher
    limits: Limits
    later: Later


@dataclass(frozen=True, kw_only=True)
class Origin:
    """From where a request comes."""

    address: str | None
    agent: str


def service(request: Request) -> Service:
    return cast(Service, request.state.service)


def origin(request: Request) -> Origin:
    """Address and client; a forwarded address is believed of the proxies alone."""
    proxies: tuple[Any, ...] = request.state.proxies
    peer = _address(request.client.host if request.client else "")
    told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if peer and told and any(peer in network for network in proxies):
        peer = _address(told) or peer
    agent = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    return Origin(address=str(peer) if peer else None, agent=agent[:AGENT])


def bearer(request: Request) -> str:
    """The token that a request carries.

    Raises:
        Refused: it carries none.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return token.strip()


def caller(request: Request) -> Caller:
    """Whose access token the request carries; whether the session is still there is for the database to say.

    Raises:
        Refused: it carries none that is valid.
    """
    return service(request).tokens.caller(bearer(request))


def require_admin(request: Request) -> None:
    """
    Raises:
        Refused: the request does not come with the service key.
    """
    role = service(request).tokens.role(bearer(request))
    if role is None:
        raise Refused(403, "bad_jwt", "invalid JWT: not an API key")
    if role != "service_role":
        raise Refused(403, "not_admin", "User not allowed")


def _address(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
