"""A body that is none is refused in the one shape, and one that says too much gains nothing by it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.system.auth.service import ADMIN, DOORS, JSON, PASSWORD, Service, address, code, why

OWN = (("PUT", "/user"), ("POST", "/factors"))
NO_OBJECT = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a list of objects": b'[{"email": "a@example.org"}]',
    "a number": b"1",
    "a text": b'"email"',
}
NO_JSON = {
    "half of one": b'{"email": "a@example.org"',
    "two": b"{}{}",
    "more after it": b"{} trailing",
    "a comma too many": b'{"email": "a@example.org",}',
    "no text": b"\xff\xfe\xfa",
    "UTF-16": '{"email": "a@example.org"}'.encode("utf-16"),
    "bytes that are no UTF-8": b'{"email": "\xc3\x28@example.org"}',
    "a number that is none": b'{"email": NaN}',
    "very deep": b'{"data":' + b"[" * 20_000,
    "very deep and whole": b'{"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a form": b"email=a%40example.org&password=secret",
}


def _refused(answer: httpx.Response) -> None:
    assert answer.status_code in (400, 401, 403, 404, 405, 413, 415, 422), answer.text
    code(answer)


@pytest.mark.parametrize("path", DOORS)
def test_a_body_that_is_no_object(path: str, service: Service) -> None:
    for name, body in NO_OBJECT.items():
        answer = service.send("POST", path, content=body, headers=JSON)
        assert answer.status_code in (400, 422), name


@pytest.mark.parametrize("path", DOORS)
def test_a_body_that_is_no_json(path: str, service: Service) -> None:
    for name, body in NO_JSON.items():
        answer = service.send("POST", path, content=body, headers=JSON)
        assert why(answer) == (400, "bad_json"), name


def test_a_body_that_is_no_json_behind_a_login(service: Service, token: str) -> None:
    for body in NO_JSON.values():
        for method, path in OWN:
            _refused(service.send(method, path, token=token, content=body, headers=JSON))
        for method, path in ADMIN:
            _refused(service.send(method, path, key=service.admin, token=service.admin, content=body, headers=JSON))


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/png"]
)
def test_another_content_type(kind: str, service: Service) -> None:
    """What a page elsewhere can send without being asked first is not taken for JSON."""
    body = json.dumps({"email": address(), "password": PASSWORD}).encode()
    for path in DOORS:
        assert 400 <= service.send("POST", path, content=body, headers={"Content-Type": kind}).status_code < 500, path


def test_a_content_type_with_a_charset_is_json(service: Service) -> None:
    body = json.dumps({"email": address(), "password": PASSWORD}).encode()
    sent = service.send("POST", "/signup", content=body, headers={"Content-Type": "application/json;charset=UTF-8"})
    assert sent.status_code == 200


def test_a_body_that_is_too_large(service: Service, token: str) -> None:
    body = json.dumps({"email": address(), "password": PASSWORD, "data": {"x": "x" * 1_100_000}}).encode()
    for path in ("/signup", "/token?grant_type=password"):
        assert service.send("POST", path, content=body, headers=JSON).status_code == 413
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    sent = service.send("PUT", "/user", token=token, content=pieces, headers=JSON)
    assert sent.status_code == 413


def test_who_says_too_much_of_themselves_is_not_locked_out(service: Service, token: str) -> None:
    """What they say is in each token, and a token must fit into a header."""
    told = service.send("PUT", "/user", token=token, json={"data": {"x": "x" * 20_000}})
    if told.status_code == 200:
        answer = service.sign_in(told.json()["email"])
        assert service.user(answer.json()["access_token"]).status_code == 200
    else:
        assert why(told) == (400, "validation_failed")


def test_what_a_client_does_not_know_yet_is_left_out(service: Service) -> None:
    email = address()
    more = {
        "gotrue_meta_security": {"captcha_token": None},
        "code_challenge": None,
        "code_challenge_method": None,
        "from_the_future": [1, {"a": None}],
        "data": {},
    }
    assert service.sign_up(email, PASSWORD, more).status_code == 200


def test_nobody_gives_themselves_more_than_a_name(service: Service) -> None:
    email = address()
    claimed = {
        "id": "00000000-0000-4000-8000-000000000001",
        "aud": "elsewhere",
        "role": "service_role",
        "app_metadata": {"plan": "premium"},
        "raw_app_meta_data": {"plan": "premium"},
        "is_super_admin": True,
        "is_sso_user": True,
        "email_confirm": True,
        "email_confirmed_at": "2020-01-01T00:00:00Z",
        "encrypted_password": "$2b$04$" + "." * 53,
        "created_at": "2000-01-01T00:00:00Z",
    }
    service.sign_up(email, PASSWORD, claimed)
    with service.database() as link:
        found = link.execute(
            "select id, aud, role, raw_app_meta_data, is_super_admin, is_sso_user, email_confirmed_at, created_at"
            " from auth.users where email = %s",
            [email],
        ).fetchone()
    assert found
    assert str(found[0]) != claimed["id"]
    assert found[1:3] == ("authenticated", "authenticated")
    assert found[3] == {"provider": "email", "providers": ["email"]}
    assert not found[4]
    assert found[5] is False
    assert found[6] is None
    assert found[7].year > 2020


@pytest.mark.parametrize("value", [0, 1.5, True, None, [], {}, ["a@example.org"], {"$gt": ""}], ids=str)
@pytest.mark.parametrize("field", ["email", "password", "token", "type", "refresh_token", "auth_code", "data"])
def test_a_field_of_another_kind(field: str, value: Any, service: Service) -> None:
    whole = {
        "email": address(),
        "password": PASSWORD,
        "token": "123456",
        "type": "signup",
        "refresh_token": "abcdefghijkl",
        "auth_code": "00000000-0000-4000-8000-000000000000",
        "code_verifier": "x" * 43,
    }
    for path in DOORS:
        service.post(path, whole | {field: value})


LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
ANYTHING = st.recursive(
    LEAF, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=9), more, max_size=3)
)
FIELDS = st.sampled_from(
    [
        *("email", "password", "phone", "data", "token", "token_hash", "type", "refresh_token", "auth_code", "nonce"),
        *("code_verifier", "code_challenge", "code_challenge_method", "create_user", "redirect_to", "new_email"),
        *(
            "factor_type",
            "friendly_name",
            "issuer",
            "user_metadata",
            "app_metadata",
            "ban_duration",
            "email_confirm",
            "id",
        ),
    ]
)
WORD = st.sampled_from(
    ["a@example.org", "signup", "recovery", "email", "totp", "s256", "24h", "none", "123456", "x" * 43]
)


@given(
    st.sampled_from([*(("POST", path) for path in DOORS), *OWN, *ADMIN]),
    st.dictionaries(FIELDS, WORD | ANYTHING, max_size=8),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_object_at_any_door(token: str, service: Service, door: tuple[str, str], body: dict[str, Any]) -> None:
    method, path = door
    if door in ADMIN:
        sent = service.send(method, path, key=service.admin, token=service.admin, content=_json(body), headers=JSON)
    else:
        sent = service.send(method, path, token=token if door in OWN else None, content=_json(body), headers=JSON)
    assert sent.status_code < 500


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()
