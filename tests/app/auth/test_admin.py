"""What the service key may do, and that nothing else may."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.auth.service import (
    PASSWORD,
    Place,
    Running,
    address,
    good,
    person,
    refused,
    sign_in,
)

SOMEBODY = "00000000-0000-4000-8000-000000000001"
DOORS = [
    ("GET", "/admin/users"),
    ("POST", "/admin/users"),
    ("GET", f"/admin/users/{SOMEBODY}"),
    ("PUT", f"/admin/users/{SOMEBODY}"),
    ("DELETE", f"/admin/users/{SOMEBODY}"),
    ("GET", f"/admin/users/{SOMEBODY}/factors"),
    ("DELETE", f"/admin/users/{SOMEBODY}/factors/{SOMEBODY}"),
    ("POST", f"/admin/users/{SOMEBODY}/unlock"),
    ("POST", "/invite"),
    ("POST", "/admin/generate_link"),
]


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_only_the_service_key_opens_them(place: Place, auth: Running, method: str, path: str) -> None:
    ada = person(auth)
    anon, service = place.api_key("anon"), place.api_key("service_role")
    assert refused(auth.ask(method, path)) == (401, "no_authorization")
    assert refused(auth.ask(method, path, headers={"authorization": f"Bearer {anon}"})) == (403, "not_admin")
    assert refused(ada.ask(method, path)) == (403, "bad_jwt")
    signed = {"authorization": ada.headers["authorization"], "apikey": service}
    assert refused(auth.ask(method, path, headers=signed)) == (403, "bad_jwt")
    expired = place.api_key("service_role", exp=1)
    assert refused(auth.ask(method, path, headers={"authorization": f"Bearer {expired}"})) == (403, "bad_jwt")


def made(auth: Running, **more: Any) -> dict[str, Any]:
    return good(
        auth.admin(
            "POST", "/admin/users", json={"email": address(), "password": PASSWORD, "email_confirm": True, **more}
        )
    )


def test_an_account_is_made_read_changed_and_removed(auth: Running) -> None:
    user = made(auth, user_metadata={"a": 1}, app_metadata={"plan": "gold"}, role="authenticated")
    assert user["app_metadata"] == {"plan": "gold", "provider": "email", "providers": ["email"]}
    path = f"/admin/users/{user['id']}"
    assert good(auth.admin("GET", path))["user_metadata"]["a"] == 1
    session = good(sign_in(auth, user["email"]))
    new = {"app_metadata": {"plan": None, "tier": 2}, "password": "another lighthouse far away"}
    assert good(auth.admin("PUT", path, json=new))["app_metadata"]["tier"] == 2
    ended = auth.ask("GET", "/user", headers={"authorization": f"Bearer {session['access_token']}"})
    assert refused(ended) == (403, "session_not_found")
    good(sign_in(auth, user["email"], "another lighthouse far away"))
    moved = address("moved")
    assert good(auth.admin("PUT", path, json={"email": moved}))["email"] == moved
    good(auth.admin("DELETE", path, json={"should_soft_delete": False}))
    assert refused(auth.admin("GET", path)) == (404, "user_not_found")


def test_what_is_left_of_an_account_is_its_id(place: Place, auth: Running) -> None:
    user = made(auth, user_metadata={"nick": "Ada"})
    good(auth.admin("DELETE", f"/admin/users/{user['id']}", json={"should_soft_delete": True}))
    assert refused(auth.admin("GET", f"/admin/users/{user['id']}")) == (404, "user_not_found")
    row = place.rows("select to_jsonb(u) as row from auth.users u where id = %(u)s", u=user["id"])[0]["row"]
    assert user["email"] not in str(row)
    assert "Ada" not in str(row)
    again = good(auth.admin("POST", "/admin/users", json={"email": user["email"]}))
    assert again["id"] != user["id"]


def test_an_address_is_one_account_s(auth: Running) -> None:
    user = made(auth)
    for body in ({"email": user["email"].upper()}, {"email": address(), "id": user["id"]}):
        assert refused(auth.admin("POST", "/admin/users", json=body)) == (422, "email_exists")
    other = made(auth)
    path = f"/admin/users/{other['id']}"
    assert refused(auth.admin("PUT", path, json={"email": user["email"]})) == (422, "email_exists")


def test_a_ban_ends_sessions_and_lets_nobody_in(auth: Running) -> None:
    ada = person(auth)
    path = f"/admin/users/{ada.id}"
    good(auth.admin("PUT", path, json={"ban_duration": "1h30m"}))
    assert refused(ada.ask("GET", "/user")) == (403, "session_not_found")
    assert refused(ada.refresh()) == (400, "refresh_token_not_found")
    assert refused(sign_in(auth, ada.email)) == (400, "user_banned")
    assert refused(sign_in(auth, ada.email, "not the password of ada")) == (400, "invalid_credentials")
    good(auth.admin("PUT", path, json={"ban_duration": "none"}))
    good(sign_in(auth, ada.email))


@pytest.mark.parametrize(
    "body",
    [
        {"role": "service_role"},
        {"role": "maia_owner"},
        {"role": "x'; drop table users"},
        {"ban_duration": "soon"},
        {"password": "short"},
        {"password_hash": "plain"},
        {"email": "no address"},
        {"app_metadata": [1]},
        {"email_confirm": "yes"},
        {"id": "1"},
    ],
)
def test_what_is_malformed_is_refused(auth: Running, body: dict[str, Any]) -> None:
    status, code = refused(auth.admin("POST", "/admin/users", json={"email": address(), **body}))
    assert (status, code) in {(400, "validation_failed"), (422, "weak_password")}


def test_accounts_are_listed_by_pages(auth: Running) -> None:
    users = [made(auth)["id"] for _ in range(3)]
    answer = auth.admin("GET", "/admin/users?page=1&per_page=2")
    total = int(answer.headers["x-total-count"])
    assert [user["id"] for user in good(answer)["users"]] == users[:0:-1]
    last = -(-total // 2)
    assert '?page=2&per_page=2>; rel="next"' in answer.headers["link"]
    assert f'?page={last}&per_page=2>; rel="last"' in answer.headers["link"]
    assert good(auth.admin("GET", "/admin/users?page=&per_page="))["aud"] == "authenticated"
    assert refused(auth.admin("GET", "/admin/users?page=-1")) == (400, "validation_failed")


def test_an_invitation_is_accepted(mailing: Running) -> None:
    email = address("guest")
    invited = good(mailing.admin("POST", "/invite", json={"email": email, "data": {"from": "Ada"}}))
    assert invited["invited_at"]
    mail = mailing.mails(email)[-1]
    assert mail["kind"] == "invite"
    told = {"email": email, "token": mail["code"], "type": "invite"}
    session = good(mailing.ask("POST", "/verify", json=told))
    assert session["user"]["id"] == invited["id"]
    assert refused(mailing.admin("POST", "/invite", json={"email": email})) == (422, "email_exists")


@pytest.mark.parametrize("kind", ["signup", "invite", "magiclink", "recovery", "email_change_new"])
def test_a_link_is_handed_out_without_a_mail(mailing: Running, kind: str) -> None:
    email = address()
    if kind in ("recovery", "email_change_new"):
        email = made(mailing)["email"]
    body = {"type": kind, "email": email, "password": PASSWORD, "new_email": address("new")}
    told = good(mailing.admin("POST", "/admin/generate_link", json=body))
    assert mailing.mails(email) == []
    kind_told = "email_change" if kind == "email_change_new" else kind
    assert told["verification_type"] == kind
    if kind != "email_change_new":
        used = {"token_hash": told["hashed_token"], "type": kind_told}
        assert good(mailing.ask("POST", "/verify", json=used))["user"]["id"] == told["id"]


def test_a_lost_factor_is_taken_away(auth: Running) -> None:
    ada = person(auth)
    factor, _ = ada.strengthen()
    path = f"/admin/users/{ada.id}/factors"
    listed = auth.admin("GET", path).json()
    assert [(each["id"], each["factor_type"]) for each in listed] == [(factor, "totp")]
    good(auth.admin("DELETE", f"{path}/{factor}"))
    assert refused(auth.admin("DELETE", f"{path}/{factor}")) == (404, "mfa_factor_not_found")
