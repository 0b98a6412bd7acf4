"""The auth service as an ASGI application: ``app.auth.main:app``."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from app.auth import keys, settings
from app.auth.context import Service
from app.auth.database import Database
from app.auth.endpoints import absent, admin, factors, links, mailings, public, recovery, signup, token, user, verify
from app.auth.gate import Gate, unrouted
from app.auth.later import Later
from app.auth.limits import Limits
from app.auth.outbox import Sender
from app.auth.passwords import Hasher
from app.auth.settings import Settings
from app.auth.tidy import keep_tidy
from app.auth.tokens import Tokens
from app.common import settings as variables

CONNECTIONS = 8
"""Connections to the database, of each worker."""


class State(TypedDict):
    service: Service
    proxies: tuple[Any, ...]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    told = variables.read(Settings)
    policy, found = settings.policy(told.config), keys.read(told.keys)
    database, hasher = Database(told.postgres, CONNECTIONS), Hasher(policy.bcrypt_cost)
    limits = Limits(told.redis, found, policy.limits)
    made = Service(
        policy=policy,
        keys=found,
        tokens=Tokens(found, policy),
        database=database,
        hasher=hasher,
        limits=limits,
        later=Later(),
    )
    await database.open()
    tasks = [asyncio.create_task(keep_tidy(database, policy))]
    if policy.smtp:
        tasks.append(asyncio.create_task(Sender(database, found, policy.smtp).work()))
    try:
        yield State(service=made, proxies=tuple(ipaddress.ip_network(one) for one in policy.proxies))
    finally:
        await made.later.finish()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()
        await limits.close()
        hasher.close()


app = Starlette(
    routes=[
        Route("/health", public.health),
        Route("/settings", public.settings),
        Route("/metrics", public.measures),
        Route("/.well-known/jwks.json", public.jwks),
        Route("/signup", signup.signup, methods=["POST"]),
        Route("/token", token.token, methods=["POST"]),
        Route("/user", user.read, methods=["GET"]),
        Route("/user", user.update, methods=["PUT"]),
        Route("/recover", mailings.recover, methods=["POST"]),
        Route("/otp", mailings.otp, methods=["POST"]),
        Route("/magiclink", mailings.otp, methods=["POST"]),
        Route("/resend", mailings.resend, methods=["POST"]),
        Route("/reauthenticate", mailings.reauthenticate, methods=["GET"]),
        Route("/verify", verify.by_link, methods=["GET"]),
        Route("/verify", verify.by_post, methods=["POST"]),
        Route("/logout", user.logout, methods=["POST"]),
        Route("/factors", factors.enroll, methods=["POST"]),
        Route("/factors/recovery-codes", recovery.status, methods=["GET"]),
        Route("/factors/recovery-codes", recovery.generate, methods=["POST"]),
        Route("/factors/recovery-codes", recovery.remove, methods=["DELETE"]),
        Route("/factors/recovery-codes/verify", recovery.verify, methods=["POST"]),
        Route("/factors/recovery-codes/regenerate", recovery.regenerate, methods=["POST"]),
        Route("/factors/{factor}/challenge", factors.challenge, methods=["POST"]),
        Route("/factors/{factor}/verify", factors.verify, methods=["POST"]),
        Route("/factors/{factor}", factors.unenroll, methods=["DELETE"]),
        Route("/invite", links.invite, methods=["POST"]),
        Route("/admin/generate_link", links.generate, methods=["POST"]),
        Route("/admin/users", admin.listed, methods=["GET"]),
        Route("/admin/users", admin.add, methods=["POST"]),
        Route("/admin/users/{user}", admin.read, methods=["GET"]),
        Route("/admin/users/{user}", admin.update, methods=["PUT"]),
        Route("/admin/users/{user}", admin.remove, methods=["DELETE"]),
        Route("/admin/users/{user}/unlock", admin.unlock, methods=["POST"]),
        Route("/admin/users/{user}/factors", admin.factors, methods=["GET"]),
        Route("/admin/users/{user}/factors/{factor}", admin.remove_factor, methods=["DELETE"]),
        *absent.ROUTES,
    ],
    middleware=[Middleware(Gate)],
    exception_handlers={HTTPException: unrouted},
    lifespan=lifespan,
)
# What would lead from one path to another is built of the request's Host, which anybody forges.
app.router.redirect_slashes = False
