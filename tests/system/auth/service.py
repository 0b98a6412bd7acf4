"""An auth service as clients ask it over HTTP, and as the machine's root looks behind it."""

from __future__ import annotations

import html
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from app.auth.keys import Keys

PASSWORD = "a lighthouse keeps its hours"
VERSION = {"X-Supabase-Api-Version": "2024-01-01"}
"""The form of errors that today's clients ask for."""
LINK = re.compile(r"https?://[^\s\"'<>]+/verify\?[^\s\"'<>]+")
CODE = re.compile(r"(?<![\w-])\d{6}(?![\w-])")
UNREAD = re.compile(r"%00|%(?![0-9A-Fa-f]{2})")
"""Addresses that no server can read: the gateway refuses them before it knows where they lead."""
PATIENCE = 30
"""Seconds for one answer."""
JSON = {"Content-Type": "application/json"}
DOORS = (
    *("/signup", "/token?grant_type=password", "/token?grant_type=refresh_token", "/token?grant_type=pkce", "/otp"),
    *("/verify", "/recover", "/resend"),
)
"""What anybody may ask for who has the public key, by POST."""
ADMIN = (("POST", "/admin/users"), ("POST", "/admin/generate_link"), ("POST", "/invite"))
"""What only the service key may."""

Link = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Mail:
    """What waits in the outbox."""

    kind: str
    recipient: str
    subject: str
    text: str

    @property
    def link(self) -> str:
        """The address that it asks its reader to go to; empty where it has none."""
        found = LINK.search(html.unescape(self.text))
        return found[0] if found else ""

    @property
    def code(self) -> str:
        """The code that it asks its reader to type."""
        found = CODE.search(LINK.sub("", html.unescape(self.text)))
        return found[0] if found else ""


@dataclass(frozen=True)
class Session:
    """What a sign-in gives."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    user: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, answer: httpx.Response) -> Session:
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        return cls(told["access_token"], told["refresh_token"], told["user"])


@dataclass(frozen=True)
class Person:
    """Somebody with a confirmed address."""

    id: str
    email: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Service:
    """Where it is, its two API keys, and the ways of the machine's root."""

    origin: str
    ca: str | None
    """Path of the CA that clients trust; None where there is no TLS."""
    anon: str = field(repr=False)
    admin: str = field(repr=False)
    http: httpx.Client = field(repr=False)
    keys: Callable[[], dict[str, Any]] = field(repr=False)
    """What the service signs with."""
    database: Callable[[], AbstractContextManager[Link]] = field(repr=False)
    """A superuser's connection, on which each statement commits by itself."""
    forget: Callable[[], None] = field(repr=False)
    """Takes all that the service has in Redis away."""

    @property
    def base(self) -> str:
        return f"{self.origin}/auth/v1"

    def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = "",
        token: str | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        **body: Any,
    ) -> httpx.Response:
        """A request with the public key, or another or no ``key``; the answer is looked at in any case."""
        sent: dict[str, str | bytes] = {**VERSION}
        if key is not None:
            sent["apikey"] = key or self.anon
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        sent |= headers or {}
        answer = self.http.request(
            method,
            f"{self.base}{path}",
            headers=[
                (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in sent.items()
            ],
            **body,
        )
        look(answer)
        return answer

    def post(self, path: str, document: Any = None, **rest: Any) -> httpx.Response:
        return self.send("POST", path, json={} if document is None else document, **rest)

    def administer(self, method: str, path: str, document: Any = None) -> httpx.Response:
        body = {} if document is None else {"json": document}
        return self.send(method, path, key=self.admin, token=self.admin, **body)

    def user(self, token: str) -> httpx.Response:
        return self.send("GET", "/user", token=token)

    def sign_up(self, email: str, password: str = PASSWORD, more: Mapping[str, Any] | None = None) -> httpx.Response:
        return self.post("/signup", {"email": email, "password": password, **(more or {})})

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/token?grant_type=password", {"email": email, "password": password})

    def refresh(self, token: str) -> httpx.Response:
        return self.post("/token?grant_type=refresh_token", {"refresh_token": token})

    def person(self, email: str | None = None, password: str = PASSWORD) -> Person:
        """Somebody who signed up, and whose address the machine's root confirmed instead of a mail."""
        made = email or address()
        answer = self.sign_up(made, password)
        assert answer.status_code == 200, answer.text
        user = answer.json()["id"]
        with self.database() as link:
            link.execute("update auth.users set email_confirmed_at = now() where id = %s", [user])
            link.execute("delete from auth.one_time_tokens where user_id = %s", [user])
            link.execute("delete from auth.outbox where user_id = %s", [user])
        return Person(user, made, password)

    def session(self, person: Person) -> Session:
        """Of a new device."""
        return Session.of(self.sign_in(person.email, person.password))

    def outbox(self) -> list[Mail]:
        """Every mail that waits, the oldest first; unsealed here, because the verb that shows them takes its time."""
        keys = Keys(self.keys())
        with self.database() as link:
            rows = link.execute("select sealed from auth.outbox order by id").fetchall()
        told = [json.loads(keys.unseal(sealed, "outbox")) for (sealed,) in rows]
        return [Mail(mail["kind"], mail["to"], mail["subject"], mail["text"]) for mail in told]

    def mails(self, recipient: str) -> list[Mail]:
        return [mail for mail in self.outbox() if mail.recipient == recipient]

    def mail(self, recipient: str, number: int = 1) -> Mail:
        """The first to this address, or another one, once it is there: the service writes it after it has answered."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.mails(recipient)) < number:
            assert time.monotonic() < deadline, f"no mail number {number} to {recipient}"
            time.sleep(0.02)
        return found[number - 1]

    def count(self, recipient: str) -> int:
        """How many there are to this address once a mail that was asked for later is there."""
        later = self.person()
        assert self.post("/recover", {"email": later.email}).status_code == 200
        self.mail(later.email)
        return len(self.mails(recipient))

    def kept(self, *secrets: str) -> list[str]:
        """The tables in which one of these stands as it is."""
        with self.database() as link:
            tables = link.execute(
                "select c.oid::regclass::text from pg_class c"
                " where c.relnamespace = 'auth'::regnamespace and c.relkind in ('r', 'p')"
            ).fetchall()
            assert tables
            query = "select 1 from {} t where strpos(t::text, %s) > 0 limit 1"
            return [
                table
                for (table,) in tables
                for secret in secrets
                if link.execute(query.format(table).encode(), [secret]).fetchone()
            ]


def look(answer: httpx.Response) -> None:
    """Every refusal has the one shape, and nothing is ever the server's fault."""
    assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:2000]}"
    assert "set-cookie" not in answer.headers
    if answer.status_code < 400 or answer.request.method == "HEAD":
        return
    said = answer.text
    if answer.status_code == 400 and UNREAD.search(str(answer.request.url)) and "<center>nginx</center>" in said:
        return
    assert answer.headers["content-type"].partition(";")[0] == "application/json", f"{answer.headers}\n{said[:500]}"
    told = answer.json()
    more = {"weak_password"} if told.get("code") == "weak_password" else set()
    if answer.headers.get("x-supabase-api-version") == "2024-01-01":
        assert set(told) == {"code", "message"} | more, told
        code, message = told["code"], told["message"]
    else:
        assert set(told) == {"code", "error_code", "msg"} | more, told
        assert told["code"] == answer.status_code, told
        code, message = told["error_code"], told["msg"]
    assert re.fullmatch(r"[a-z0-9_]+", code), told
    assert isinstance(message, str) and 0 < len(message) < 500, told
    for word in ("Traceback", "psycopg", "SELECT ", "select ", "granian", "/opt/", ".py"):
        assert word not in said, told


def code(answer: httpx.Response) -> str:
    """Why it was refused."""
    told = answer.json()
    assert answer.status_code >= 400, told
    return str(told.get("error_code") or told["code"])


def why(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, code(answer)


def address(name: str = "somebody") -> str:
    """One that nobody had before."""
    return f"{name}-{secrets.token_hex(8)}@example.org"
