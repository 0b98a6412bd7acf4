"""What stands before every endpoint: keys, forms of errors, hostile bodies, other origins, an absent database."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from app.common.settings import SettingError
from tests.app.auth.service import PASSWORD, SITE, Place, Running, address, good, person, refused, running, sign_in

ENDPOINTS = [
    ("POST", "/signup"),
    ("POST", "/token?grant_type=password"),
    ("POST", "/token?grant_type=refresh_token"),
    ("POST", "/token?grant_type=pkce"),
    ("POST", "/recover"),
    ("POST", "/otp"),
    ("POST", "/magiclink"),
    ("POST", "/resend"),
    ("POST", "/verify"),
    ("PUT", "/user"),
    ("POST", "/factors"),
    ("POST", "/factors/recovery-codes"),
    ("POST", "/factors/recovery-codes/verify"),
    ("POST", "/factors/00000000-0000-0000-0000-000000000001/verify"),
]
ADMIN = [("POST", "/admin/users"), ("POST", "/invite"), ("POST", "/admin/generate_link")]
BODIES: list[Any] = [
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"\xff\xfe",
    '{"email": "a@example.org"}'.encode("utf-16"),
    b'{"email": "a\\u0000@example.org"}',
    b'{"email": "\\ud800@example.org"}',
    b'{"data": {"x": NaN}}',
    b'{"data": {"x": 1e999}}',
    b'{"data": ' + b'{"x":' * 500 + b"1" + b"}" * 501,
    b"[" * 100000,
    b'{"x": ' + b"9" * 5000 + b"}",
    {"email": 1, "password": []},
    {"email": {"a": 1}, "password": {"b": 2}, "data": "text", "token": 1, "type": 2, "code": True},
    {"email": "a@example.org\r\nBcc: b@example.org", "password": PASSWORD},
    {"email": "' or 1=1 --@example.org", "password": "' or '1'='1"},
    {"email": f"{'a' * 65}@example.org", "password": PASSWORD, "type": "signup", "token": "1"},
    {"email": f"a@{'b' * 300}.org", "password": PASSWORD, "type": "signup", "token": "1"},
    {"email": "a@straße.de\u200d", "password": PASSWORD},
    {"email": "joe\u212a@example.org", "password": PASSWORD},
    {"refresh_token": "x" * 5000, "auth_code": "y" * 5000, "code_verifier": "z" * 5000},
    {"refresh_token": "'; drop table auth.users; --", "auth_code": "%s", "code_verifier": "%(x)s"},
    {"type": "signup", "token_hash": "pkce_", "email": ""},
    {"type": "\u202e", "email": "ada@example.org", "token": "000000"},
    {"factor_type": "totp", "friendly_name": "n" * 101},
    {"challenge_id": "not one", "code": "١٢٣٤٥٦"},
    {"code_challenge": "x", "code_challenge_method": "s256", "email": "ada@example.org", "password": PASSWORD},
    {"code_challenge": "x" * 43, "code_challenge_method": "md5", "email": "ada@example.org", "password": PASSWORD},
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body)[:24])
def test_no_body_is_answered_by_a_failure(auth: Running, body: Any) -> None:
    ada = person(auth)
    sent = {"content": body} if isinstance(body, bytes) else {"content": json.dumps(body).encode()}
    headers = {**ada.headers, "content-type": "application/json"}
    for method, path in ENDPOINTS:
        answer = auth.ask(method, path, headers=headers, **sent)
        assert answer.status_code < 500, (path, answer.text)
        if answer.status_code >= 400:
            refused(answer)
    for method, path in ADMIN:
        answer = auth.admin(method, path, **sent)
        assert answer.status_code < 500, (path, answer.text)
        if answer.status_code >= 400:
            refused(answer)


@pytest.mark.parametrize("body", BODIES[:13], ids=lambda body: str(body)[:24])
def test_what_is_no_json_object_of_text_is_bad_json(auth: Running, body: bytes) -> None:
    answer = auth.ask("POST", "/signup", content=body, headers={"content-type": "application/json"})
    assert refused(answer) == (400, "bad_json")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_a_form_of_another_page_cannot_sign_anybody_in(auth: Running, kind: str) -> None:
    told = json.dumps({"email": address(), "password": PASSWORD})
    answer = auth.ask("POST", "/token?grant_type=password", content=told, headers={"content-type": kind})
    assert refused(answer) == (400, "bad_json")


def test_a_body_that_is_too_large_is_refused(auth: Running) -> None:
    answer = auth.ask("POST", "/signup", content=b"x" * (1 << 20) + b"x", headers={"content-type": "application/json"})
    assert refused(answer) == (413, "request_entity_too_large")

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * (1 << 16)

    answer = auth.ask("POST", "/signup", content=pieces(), headers={"content-type": "application/json"})
    assert refused(answer) == (413, "request_entity_too_large")


def test_nothing_is_answered_without_a_key(place: Place, auth: Running) -> None:
    forged = place.api_key("anon")[:-4] + "AAAA"
    for method, path in (*ENDPOINTS, ("GET", "/settings"), ("GET", "/user"), ("GET", "/nothing")):
        for key in (None, "", forged, place.api_key("anon", exp=1), place.api_key("postgres"), "a.b.c"):
            assert refused(auth.ask(method, path, headers={"apikey": key})) == (401, "no_authorization")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/.well-known/jwks.json"])
def test_what_holds_no_secret_needs_no_key(auth: Running, path: str) -> None:
    answer = auth.ask("GET", path, headers={"apikey": None})
    assert answer.status_code == 200
    assert '"d"' not in answer.text


def test_a_key_that_was_good_is_not_once_it_expired(place: Place, auth: Running) -> None:
    key = place.api_key("anon", exp=int(time.time()) + 1)
    assert auth.ask("GET", "/settings", headers={"apikey": key}).status_code == 200
    tokens = auth.state["service"].tokens
    assert tokens._roles[key][1] <= time.time() + 1
    tokens._roles[key] = ("anon", time.time() - 1)
    assert refused(auth.ask("GET", "/settings", headers={"apikey": key})) == (401, "no_authorization")


def test_errors_come_in_the_form_that_is_asked_for(auth: Running) -> None:
    told = {"json": {"email": address(), "password": "x"}}
    path = "/token?grant_type=password"
    new = auth.ask("POST", path, headers={"x-supabase-api-version": "2024-01-01"}, **told)
    assert new.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert new.headers["x-supabase-api-version"] == "2024-01-01"
    for version in ("", "2023-01-01", "soon", "2024-13-01"):
        old = auth.ask("POST", path, headers={"x-supabase-api-version": version}, **told)
        assert refused(old) == (400, "invalid_credentials")
        assert "x-supabase-api-version" not in old.headers


def test_what_is_not_there_and_what_is_not_allowed(auth: Running) -> None:
    for path in ("/nothing", "/user/", "/settings/", "/admin/users/"):
        assert refused(auth.ask("GET", path, headers={"host": "evil.example"}))[0] == 404
    assert refused(auth.ask("DELETE", "/token"))[0] == 405
    assert refused(auth.ask("POST", "/token")) == (400, "invalid_credentials")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/authorize?provider=google", 400, "validation_failed"),
        ("POST", "/token?grant_type=id_token", 400, "provider_disabled"),
        ("POST", "/token?grant_type=web3", 422, "web3_provider_disabled"),
        ("GET", "/user/identities/authorize?provider=google", 404, "manual_linking_disabled"),
        ("DELETE", "/user/identities/1", 404, "manual_linking_disabled"),
        ("POST", "/sso", 404, "saml_provider_disabled"),
        ("POST", "/passkeys/authentication/options", 404, "passkey_disabled"),
    ],
)
def test_ways_in_that_are_off_say_so(auth: Running, method: str, path: str, status: int, code: str) -> None:
    assert refused(auth.ask(method, path)) == (status, code)


def test_who_looks_at_a_link_does_not_use_it_up(mailing: Running) -> None:
    email = address()
    good(mailing.ask("POST", "/otp", json={"email": email}))
    path = mailing.mails(email)[-1]["link"].removeprefix(f"{SITE}/auth/v1")
    assert mailing.ask("HEAD", path, headers={"apikey": None}).status_code == 200
    assert "access_token" in mailing.ask("GET", path, headers={"apikey": None}).headers["location"]


def test_pages_of_the_site_may_call_and_others_may_not(auth: Running) -> None:
    asked = {"access-control-request-method": "POST", "apikey": None}
    for origin, allowed in ((SITE, SITE), ("https://evil.example", None), ("null", None)):
        for answer in (
            auth.ask("OPTIONS", "/token", headers={**asked, "origin": origin}),
            auth.ask("GET", "/settings", headers={"origin": origin}),
        ):
            assert answer.headers.get("access-control-allow-origin") == allowed
    assert "x-client-info" in auth.ask("OPTIONS", "/token", headers=asked).headers["access-control-allow-headers"]


def test_nothing_is_kept_by_caches(auth: Running) -> None:
    ada = person(auth)
    for answer in (sign_in(auth, ada.email), ada.ask("GET", "/user"), sign_in(auth, ada.email, "wrong")):
        assert answer.headers["cache-control"] == "no-store"


def test_what_happens_is_measured(auth: Running) -> None:
    sign_in(auth, address(), "wrong")
    text = auth.ask("GET", "/metrics", headers={"apikey": None}).text
    assert 'maia_auth_sign_ins_total{method="password",outcome="refused"}' in text
    assert 'maia_auth_request_seconds_count{endpoint="/token",status="4xx"}' in text
    assert 'endpoint="/factors/{factor}/verify"' in text or 'endpoint="/token"' in text


def test_without_its_database_the_service_says_so(place: Place) -> None:
    kept = (place.folder / "postgres.json").read_text()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/maia"
        try:
            (place.folder / "postgres.json").write_text(json.dumps({"url": url}))
            with running(place) as alone:
                answers: list[httpx.Response] = alone.ask_all(
                    ("GET", "/health", {}),
                    ("POST", "/token?grant_type=password", {"json": {"email": address(), "password": "x"}}),
                )
                for answer in answers:
                    assert refused(answer)[0] == 503
                    assert answer.headers["retry-after"]
        finally:
            (place.folder / "postgres.json").write_text(kept)


def test_connections_that_the_server_ended_refuse_nobody(place: Place, auth: Running) -> None:
    ada = person(auth)
    ended, began = 0, time.monotonic()
    for _ in range(3):
        asked = [("GET", "/user", {"headers": ada.headers})] * 16
        assert {answer.status_code for answer in auth.ask_all(*asked)} == {200}
        ended += len(
            place.rows("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'auth_test'")
        )
    assert ended >= 6
    assert time.monotonic() - began < 5
    assert {answer.status_code for answer in auth.ask_all(*asked)} == {200}


@pytest.mark.parametrize(
    ("policy", "about"),
    [
        ({"bcrypt_cost": 3}, "bcrypt_cost"),
        ({"access_seconds": "long"}, "access_seconds"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"smtp": {"server": "x"}}, "smtp"),
        ({"smtp": {"host": "x", "tls": "no"}}, "tls"),
        ({"limits": {"sign_in_account": [0, 1]}}, "limits"),
        ({"redirects": "https://x"}, "redirects"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_by_name(place: Place, policy: dict[str, Any], about: str) -> None:
    with pytest.raises(SettingError, match=about):
        with running(place, **policy):
            pass
