"""The auth service in this process, asked over ASGI; a person who uses it; the mails that it wrote."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import httpx
import jwt
import redis
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg.rows import dict_row
from starlette.types import Receive, Scope, Send

from app.auth import keys as keyring
from app.auth import outbox, totp
from app.auth.main import app
from app.auth.settings import LIMITS
from tests.postgres import DATABASE, Server

T = TypeVar("T")
SITE = "https://maia.example.org"
ISSUER = f"{SITE}/auth/v1"
PASSWORD = "a lighthouse keeps its hours"
ADDRESS = "192.0.2.7"


def new_signing_key() -> dict[str, str]:
    made = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))
    return {**made, "kid": secrets.token_hex(8), "alg": "ES256"}


@dataclass(frozen=True)
class Place:
    """What the service stands beside, and the files that it gets."""

    folder: Path
    postgres: Server
    redis: str
    keys: dict[str, Any]
    api: bytes

    def api_key(self, role: str, **claims: Any) -> str:
        return jwt.encode(
            {"role": role, "iss": "supabase", "iat": 0, "exp": 2**33, **claims}, self.api, algorithm="HS256"
        )

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """As superuser."""
        with self.postgres.connect(DATABASE) as link:
            return link.cursor(row_factory=dict_row).execute(query.encode(), values).fetchall()

    def run(self, statement: str, **values: Any) -> None:
        """As superuser."""
        with self.postgres.connect(DATABASE) as link:
            link.execute(statement.encode(), values)

    def empty_redis(self) -> None:
        with redis.Redis(host=self.redis, username="admin", password="admin") as link:
            link.flushall()


class Running:
    """A worker of the service, with an event loop of its own."""

    def __init__(self, place: Place, environ: dict[str, str]) -> None:
        self.place = place
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._lifespan = app.router.lifespan_context(app)
        with mock.patch.dict("os.environ", environ):
            state = self._do(self._lifespan.__aenter__())
        self.state: dict[str, Any] = dict(state or {})
        self.address = ADDRESS
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(self._asgi), base_url=SITE)

    async def _asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(self.state)
        scope["client"] = (self.address, 1)
        await app(scope, receive, send)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._do(self._http.aclose())
        self._do(self._lifespan.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """With the key ``anon``, unless headers say otherwise."""
        return self._do(self._request(method, path, **more))

    def ask_together(self, times: int, method: str, path: str, **more: Any) -> list[httpx.Response]:
        """The same request so many times at once."""

        async def all_of_them() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._request(method, path, **more) for _ in range(times))))

        return self._do(all_of_them())

    def ask_all(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Several requests at once."""

        async def all_of_them() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._request(method, path, **more) for method, path, more in requests)))

        return self._do(all_of_them())

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"apikey": self.place.api_key("anon"), **more.pop("headers", {})}
        sent = {name: value for name, value in headers.items() if value is not None}
        answer = await self._http.request(method, path, headers=sent, **more)
        await self.state["service"].later.finish()
        return answer

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        """With the service key."""
        key = self.place.api_key("service_role")
        return self.ask(method, path, headers={"apikey": key, "authorization": f"Bearer {key}"}, **more)

    def mails(self, to: str) -> list[dict[str, Any]]:
        """What was written to an address, oldest first."""
        found = keyring.Keys(self.place.keys)
        rows = self.place.rows("select sealed from auth.outbox order by id")
        every = [json.loads(found.unseal(bytes(row["sealed"]), outbox.PURPOSE)) for row in rows]
        return [mail for mail in every if mail["to"] == to]

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Something of the service itself, on its loop."""
        return self._do(work())


def environment(place: Place, **policy: Any) -> dict[str, str]:
    """What the service is told by variables: cheap hashes, wide limits, and what else the configuration says."""
    told = {"issuer": ISSUER, "site_url": SITE, "bcrypt_cost": 4, **policy}
    told["limits"] = {**{name: [100000, 60] for name in LIMITS}, **policy.get("limits", {})}
    path = place.folder / f"auth-{secrets.token_hex(4)}.json"
    path.write_text(json.dumps(told))
    files = {f"MAIA_{name.upper()}": str(place.folder / f"{name}.json") for name in ("postgres", "redis", "keys")}
    return {**files, "MAIA_CONFIG": str(path)}


@contextmanager
def running(place: Place, **policy: Any) -> Iterator[Running]:
    """A worker with cheap hashes and wide limits.

    Args:
        policy: what else its configuration says.
    """
    started = Running(place, environment(place, **policy))
    try:
        yield started
    finally:
        started.close()


@dataclass
class Person:
    """Somebody with an account and a session."""

    auth: Running
    email: str
    session: dict[str, Any]
    password: str = PASSWORD

    @property
    def id(self) -> str:
        return str(self.session["user"]["id"])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.session['access_token']}"}

    @property
    def claims(self) -> dict[str, Any]:
        found: dict[str, Any] = jwt.decode(self.session["access_token"], options={"verify_signature": False})
        return found

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.auth.ask(method, path, headers=self.headers, **more)

    def refresh(self, token: str | None = None) -> httpx.Response:
        told = {"refresh_token": token or self.session["refresh_token"]}
        return self.auth.ask("POST", "/token?grant_type=refresh_token", json=told)

    def again(self) -> Person:
        """The same person on another device."""
        return Person(self.auth, self.email, good(sign_in(self.auth, self.email, self.password)), self.password)

    def enroll(self, name: str = "phone") -> tuple[str, str]:
        """An authenticator that waits for its first code: factor and secret."""
        made = good(self.ask("POST", "/factors", json={"factor_type": "totp", "friendly_name": name}))
        return made["id"], made["totp"]["secret"]

    def answer(self, factor: str, code: str) -> httpx.Response:
        """Challenge and verify."""
        asked = good(self.ask("POST", f"/factors/{factor}/challenge", json={}))
        return self.ask("POST", f"/factors/{factor}/verify", json={"challenge_id": asked["id"], "code": code})

    def strengthen(self) -> tuple[str, str]:
        """Enrol an authenticator and come to ``aal2``."""
        factor, secret = self.enroll()
        self.session = good(self.answer(factor, code_now(secret)))
        return factor, secret


def code_now(secret: str, later: int = 0) -> str:
    """The code of an authenticator, or of one so many steps fast."""
    return totp.code(secret, int(time.time() // totp.STEP) + later)


def address(name: str = "ada") -> str:
    return f"{name}-{secrets.token_hex(6)}@example.org"


def sign_in(auth: Running, email: str, password: str = PASSWORD) -> httpx.Response:
    return auth.ask("POST", "/token?grant_type=password", json={"email": email, "password": password})


def sign_up(auth: Running, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return auth.ask("POST", "/signup", json={"email": email, "password": password, **more})


def person(auth: Running, name: str = "ada") -> Person:
    """Somebody new, signed in, where nothing is to be confirmed."""
    email = address(name)
    return Person(auth, email, good(sign_up(auth, email)))


def confirmed(auth: Running, name: str = "ada") -> Person:
    """Somebody new who confirmed their address by the code."""
    email = address(name)
    good(sign_up(auth, email))
    told = {"email": email, "type": "signup", "token": auth.mails(email)[-1]["code"]}
    return Person(auth, email, good(auth.ask("POST", "/verify", json=told)))


def good(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refused(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which is of the one shape."""
    told = response.json()
    assert told["code"] == response.status_code, told
    assert isinstance(told["msg"], str)
    assert response.headers["x-sb-error-code"] == told["error_code"]
    return response.status_code, told["error_code"]
