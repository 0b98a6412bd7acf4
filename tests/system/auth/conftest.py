"""The auth service of the shared appliance, turned on for this folder's tests and off again after them.

``MAIA_AUTH`` may name a file that tells of one that runs already, for whoever works on the service: JSON with
``origin``, ``anon``, ``service``, ``keys`` (a path), ``outbox`` (a command), ``database`` and ``redis`` (addresses for
administrators).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from infra.components import cache, database
from tests.conftest import Appliance
from tests.system.auth import service as known
from tests.system.auth.service import Link, Service

FOLDER = Path(__file__).parent
NAMES = (
    *("sign_in_account", "sign_in_pair", "sign_in_address", "sign_up_address", "anonymous_address", "refresh_address"),
    *("verify_address", "verify_account", "mail_address", "mail_account", "mail_day", "factor_account"),
)
SETTINGS = {"bcrypt_cost": 10, "reuse_seconds": 60, "limits": {name: [1_000_000, 60] for name in NAMES}}
"""What the stack file says of the service: everything here comes from one address, more often than anybody may, and a
busy machine takes its time between two steps."""


class Part:
    """The service while it is on."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._service: Service | None = None

    def service(self, request: pytest.FixtureRequest) -> Service:
        if self._service is None:
            given = os.environ.get("MAIA_AUTH")
            made = _given(json.loads(Path(given).read_text())) if given else _of(request.getfixturevalue("appliance"))
            self._service = self._stack.enter_context(made)
        return self._service

    def off(self) -> None:
        self._stack.close()
        self._service = None


PART = Part()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Service:
    """The service, asked through the gateway."""
    return PART.service(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Turn it off before the tests of another folder, or before the appliance goes."""
    if nextitem is None or FOLDER not in nextitem.path.parents:
        PART.off()


@contextmanager
def _of(appliance: Appliance) -> Iterator[Service]:
    """The shared appliance with the part, for as long as it is needed."""
    parts = appliance.values["parts"]
    appliance.write({"parts": parts | {"auth": {"enabled": True}}, "auth": SETTINGS})
    appliance.maia("up", "--skip-checks")
    stack = appliance.stack
    sockets, files = stack.site.sockets(stack.name), stack.site.files(stack.name)
    link = cache.administer({"socket": str(sockets / "redis"), "admin": str(files / "administrators" / "redis")})

    def say(*words: str) -> str:
        return appliance.maia("auth", *words).stdout

    try:
        with _asked(appliance.ca) as http:
            yield Service(
                origin=appliance.url,
                ca=appliance.ca,
                anon=say("apikey", "anon").strip(),
                admin=say("apikey", "service_role").strip(),
                http=http,
                outbox=lambda: known.mails(say("outbox", "--json")),
                keys=lambda: json.loads((files / "auth" / "secrets" / "keys.json").read_bytes()),
                database=lambda: database.administer(str(sockets / "postgres"), "maia"),
                forget=lambda: _forget(link),
            )
    finally:
        del appliance.values["auth"]
        appliance.write({"parts": parts})
        appliance.maia("up", "--skip-checks")


@contextmanager
def _given(told: dict[str, Any]) -> Iterator[Service]:
    """One that somebody else started."""
    link = redis.Redis.from_url(told["redis"], decode_responses=True)

    def outbox() -> str:
        return subprocess.run(told["outbox"], capture_output=True, text=True, check=True, timeout=60).stdout

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
            outbox=lambda: known.mails(outbox()),
            keys=lambda: json.loads(Path(told["keys"]).read_bytes()),
            database=administer,
            forget=lambda: _forget(link),
        )


def _asked(ca: str | None) -> httpx.Client:
    trusted = httpx.create_ssl_context(verify=ca) if ca else True
    return httpx.Client(verify=trusted, trust_env=False, timeout=known.PATIENCE)


def _forget(link: Any) -> None:
    if found := list(link.scan_iter("auth:*", count=1000)):
        link.delete(*found)
