"""Ways in that Supabase's client knows and that are off here: refused by the word that it reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.auth.errors import Refused

Endpoint = Callable[[Request], Awaitable[Response]]

GRANTS = {
    "id_token": (400, "provider_disabled", "Provider is not enabled"),
    "web3": (422, "web3_provider_disabled", "Web3 provider is disabled"),
}
"""Refusals of ``/token``, by ``grant_type``."""


def _off(status: int, code: str, message: str) -> Endpoint:
    async def refuse(request: Request) -> Response:
        raise Refused(status, code, message)

    return refuse


_authorize = _off(400, "validation_failed", "Unsupported provider: provider is not enabled")
_linking = _off(404, "manual_linking_disabled", "Manual linking is disabled")
_passkeys = _off(404, "passkey_disabled", "Passkeys are disabled")
_sso = _off(404, "saml_provider_disabled", "SAML 2.0 is disabled")

ROUTES = [
    Route("/authorize", _authorize, methods=["GET"]),
    Route("/user/identities/authorize", _linking, methods=["GET"]),
    Route("/user/identities/{identity}", _linking, methods=["DELETE"]),
    Route("/passkeys", _passkeys, methods=["GET"]),
    Route("/passkeys/{rest:path}", _passkeys, methods=["GET", "POST", "PATCH", "DELETE"]),
    Route("/sso", _sso, methods=["POST"]),
]
