"""The part auth of a running appliance, turned on for a while; or a service that somebody else started."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import redis

from app.auth.settings import LIMITS
from infra.components import cache, database
from tests.conftest import Appliance
from tests.system.auth import service as known
from tests.system.auth.service import Link, Service

WIDE = {name: [1_000_000, 60] for name in LIMITS}
"""Everything comes from one address, and more often than anybody may."""
KEPT = ("sign_in_pair", "factor_account")
"""Limits that the tests leave as every stack has them: they bound what is tried with one account."""
SETTINGS = {
    "bcrypt_cost": 10,
    "reuse_seconds": 60,
    "limits": {name: rate for name, rate in WIDE.items() if name not in KEPT},
}
"""What the tests' stack file says of it; a busy machine takes its time between two steps."""


@contextmanager
def on(appliance: Appliance, settings: Mapping[str, Any]) -> Iterator[Service]:
    """The appliance with the part, whose ``maia:auth`` says ``settings``; without it afterwards."""
    parts = appliance.values["parts"]
    appliance.write({"parts": parts | {"auth": {"enabled": True}}, "auth": dict(settings)})
    appliance.maia("up", "--skip-checks")
    try:
        with _asked(appliance.ca) as http:
            yield _service(appliance, http)
    finally:
        del appliance.values["auth"]
        appliance.write({"parts": parts})
        appliance.maia("up", "--skip-checks")


def _service(appliance: Appliance, http: httpx.Client) -> Service:
    stack = appliance.stack
    sockets, files = stack.site.sockets(stack.name), stack.site.files(stack.name)
    link = cache.administer({"socket": str(sockets / "redis"), "admin": str(files / "administrators" / "redis")})

    return Service(
        origin=appliance.url,
        ca=appliance.ca,
        anon=appliance.maia("auth", "apikey", "anon").stdout.strip(),
        admin=appliance.maia("auth", "apikey", "service_role").stdout.strip(),
        http=http,
        keys=lambda: json.loads((files / "auth" / "secrets" / "keys.json").read_bytes()),
        database=lambda: database.administer(str(sockets / "postgres"), "maia"),
        forget=lambda: _forget(link),
    )


@contextmanager
def given(told: dict[str, Any]) -> Iterator[Service]:
    """One that runs already: ``origin``, ``anon``, ``service``, ``keys``, ``database`` and ``redis``."""
    link = redis.Redis.from_url(told["redis"], decode_responses=True)

    @contextmanager
    def administer() -> Iterator[Link]:
        with psycopg.connect(told["database"], autocommit=True) as made:
            yield made

    with _asked(None) as http:
        yield Service(
            origin=told["origin"],
            ca=None,
            anon=told["anon"],
            admin=told["service"],
            http=http,
            keys=lambda: json.loads(Path(told["keys"]).read_bytes()),
            database=administer,
            forget=lambda: _forget(link),
        )


class _Trust(ssl.SSLContext):
    """What is trusted, for connections that many threads open at once.

    httpx tells it the protocols anew for each connection, while another thread's handshake reads them: nginx was sent
    half of them once. They are set here, before there is a thread.
    """

    def __new__(cls, protocol: int, ca: str) -> Self:
        made = super().__new__(cls, protocol)
        made.load_verify_locations(ca)
        ssl.SSLContext.set_alpn_protocols(made, ["http/1.1"])
        return made

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        pass


def _asked(ca: str | None) -> httpx.Client:
    trusted = _Trust(ssl.PROTOCOL_TLS_CLIENT, ca) if ca else True
    return httpx.Client(verify=trusted, trust_env=False, timeout=known.PATIENCE)


def _forget(link: Any) -> None:
    if found := list(link.scan_iter("auth:*", count=1000)):
        link.delete(*found)
