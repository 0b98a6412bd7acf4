"""Sign-ins of apps (PKCE, RFC 7636): the address that a browser shows is worth nothing without the app's own secret."""

from __future__ import annotations

import base64
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.system.auth.service import Person, Service, Session, why


@dataclass(frozen=True)
class App:
    """What began a sign-in and may end it."""

    service: Service
    person: Person
    verifier: str
    method: str = "s256"

    @property
    def challenge(self) -> str:
        if self.method == "plain":
            return self.verifier
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def code(self, path: str = "/otp") -> str:
        """What the link of the mail brings along."""
        number = len(self.service.mails(self.person.email)) + 1
        asked = {"code_challenge": self.challenge, "code_challenge_method": self.method}
        assert self.service.post(path, {"email": self.person.email, **asked}).status_code == 200
        link = self.service.mail(self.person.email, number).link
        answer = self.service.send("GET", link.removeprefix(self.service.base), key=None)
        place = urlsplit(answer.headers["location"])
        assert "access_token" not in answer.headers["location"]
        return parse_qs(place.query)["code"][0]

    def exchange(self, code: str, verifier: str | None = None) -> httpx.Response:
        sent = {"auth_code": code, "code_verifier": self.verifier if verifier is None else verifier}
        return self.service.post("/token?grant_type=pkce", sent)


@pytest.fixture
def app(service: Service) -> App:
    return App(service, service.person(), secrets.token_urlsafe(48))


@pytest.mark.parametrize("path", ["/otp", "/recover"])
@pytest.mark.parametrize("method", ["s256", "plain"])
def test_who_began_it_ends_it(method: str, path: str, app: App) -> None:
    app = App(app.service, app.person, app.verifier, method)
    session = Session.of(app.exchange(app.code(path)))
    assert session.user["id"] == app.person.id
    assert app.service.user(session.access).status_code == 200


@pytest.mark.parametrize("verifier", ["", "x", "x" * 43, "x" * 5000])
def test_a_wrong_secret_ends_it_too(verifier: str, app: App) -> None:
    """There is no second guess, not even for whoever has the right one."""
    code = app.code()
    assert app.exchange(code, verifier).status_code == 400
    if verifier == "x" * 43:
        assert why(app.exchange(code)) == (404, "flow_state_not_found")


def test_the_challenge_is_no_secret(app: App) -> None:
    assert why(app.exchange(app.code(), app.challenge)) == (400, "bad_code_verifier")


def test_a_code_is_exchanged_once_even_at_once(app: App) -> None:
    code = app.code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.exchange(code), range(8)))
    assert [answer.status_code for answer in answers].count(200) == 1
    assert {why(answer) for answer in answers if answer.status_code != 200} == {(404, "flow_state_not_found")}


def test_a_code_that_is_too_old(app: App) -> None:
    code = app.code()
    with app.service.database() as link:
        moved = link.execute(
            "update auth.flow_state set auth_code_issued_at = now() - interval '1 hour' where user_id = %s",
            [app.person.id],
        )
        assert moved.rowcount
    assert why(app.exchange(code))[1] == "flow_state_expired"
    assert why(app.exchange(code)) == (404, "flow_state_not_found")


def test_a_code_is_not_kept_as_it_is(app: App) -> None:
    assert app.service.kept(app.code()) == []


@pytest.mark.parametrize(
    "told",
    [
        {"code_challenge": "x" * 43},
        {"code_challenge_method": "s256"},
        {"code_challenge": "x" * 42, "code_challenge_method": "s256"},
        {"code_challenge": "x" * 129, "code_challenge_method": "s256"},
        {"code_challenge": "x" * 43, "code_challenge_method": "none"},
        {"code_challenge": "é" * 43, "code_challenge_method": "s256"},
        {"code_challenge": ["x" * 43], "code_challenge_method": "s256"},
    ],
    ids=range(7),
)
def test_a_challenge_that_is_none(told: dict[str, object], app: App) -> None:
    for path in ("/otp", "/recover", "/signup"):
        sent = {"email": app.person.email, "password": app.person.password, **told}
        assert why(app.service.post(path, sent)) == (400, "validation_failed"), path
