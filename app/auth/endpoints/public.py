"""What everybody may know: which ways of signing in there are, the public keys, whether the service is well."""

from __future__ import annotations

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import metrics
from app.auth.context import service
from app.auth.database import Unavailable
from app.auth.errors import Refused

NAME = "MAIA auth"

_OUTSIDE = (
    "apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly", "github", "gitlab", "google", "kakao",
    "keycloak", "linkedin", "linkedin_oidc", "notion", "phone", "slack", "slack_oidc", "snapchat", "spotify",
    "twitch", "twitter", "workos", "zoom",
)  # fmt: skip


async def settings(request: Request) -> Response:
    policy = service(request).policy
    ways = dict.fromkeys(_OUTSIDE, False) | {"anonymous_users": policy.anonymous, "email": True}
    return JSONResponse(
        {
            "external": ways,
            "disable_signup": not policy.signup,
            "mailer_autoconfirm": policy.autoconfirm,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
            "passkeys_enabled": False,
        }
    )


async def jwks(request: Request) -> Response:
    return JSONResponse(service(request).keys.jwks, headers={"cache-control": "public, max-age=300"})


async def health(request: Request) -> Response:
    """200 while the database answers; Redis may be away."""
    try:
        await service(request).database.one("select 1 as good", {})
    except Unavailable:
        raise Refused(503, "unexpected_failure", "The database does not answer") from None
    return JSONResponse({"name": NAME, "version": "1", "description": "Accounts, sessions and tokens"})


async def measures(request: Request) -> Response:
    return Response(metrics.latest(), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
