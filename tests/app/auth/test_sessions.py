"""Sign-up, sign-in, refresh families, and the end of sessions."""

from __future__ import annotations

import hashlib

import bcrypt
import pytest
from argon2 import PasswordHasher

from tests.app.auth.service import (
    PASSWORD,
    Place,
    Running,
    address,
    confirmed,
    good,
    person,
    refused,
    running,
    sign_in,
    sign_up,
)


def test_a_sign_up_is_answered_a_session_where_nothing_is_to_be_confirmed(auth: Running) -> None:
    email = address()
    made = good(sign_up(auth, email.upper(), data={"nick": "Ada"}))
    assert made["token_type"] == "bearer"
    assert made["expires_at"] - made["expires_in"] > 1.7e9
    user = made["user"]
    assert user["email"] == email
    assert user["user_metadata"]["nick"] == "Ada"
    assert user["identities"][0]["provider"] == "email"
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}


def test_the_account_is_read_with_the_token(auth: Running) -> None:
    ada = person(auth)
    read = good(ada.ask("GET", "/user"))
    assert read["id"] == ada.id == ada.claims["sub"]
    assert (ada.claims["aal"], ada.claims["role"], ada.claims["amr"][0]["method"]) == (
        "aal1",
        "authenticated",
        "password",
    )


def test_a_wrong_password_and_an_unknown_account_are_answered_the_same(auth: Running) -> None:
    ada = person(auth)
    wrong = sign_in(auth, ada.email, "not the password of ada")
    unknown = sign_in(auth, address("nobody"), "not the password of ada")
    assert refused(wrong) == (400, "invalid_credentials")
    assert wrong.json() == unknown.json()


def test_the_same_hash_is_reckoned_for_an_unknown_account(auth: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, reckoned = person(auth), []
    real = bcrypt.checkpw

    def counted(password: bytes, known: bytes) -> bool:
        reckoned.append(known[:7])
        return real(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    sign_in(auth, ada.email, "not the password of ada")
    sign_in(auth, address("nobody"), "not the password of ada")
    sign_in(auth, address("nobody"), "x" * 73)
    assert reckoned == [b"$2b$04$"] * 3


def test_a_password_is_good_however_its_letters_were_typed(auth: Running) -> None:
    email = address()
    good(sign_up(auth, email, "Übergröße im Gästehaus"))
    good(sign_in(auth, email, "U\u0308bergro\u0308ße im Ga\u0308stehaus"))


def test_more_than_72_bytes_are_refused_and_never_cut(auth: Running) -> None:
    email, longest = address(), "lantern " * 9
    assert len(longest) == 72
    assert refused(sign_up(auth, email, longest + "x")) == (400, "validation_failed")
    good(sign_up(auth, email, longest))
    assert refused(sign_in(auth, email, longest + "x")) == (400, "invalid_credentials")
    assert refused(sign_up(auth, address(), "ä" * 37)) == (400, "validation_failed")


@pytest.mark.parametrize("kind", ["bcrypt", "argon2"])
def test_a_hash_that_was_brought_along_is_good_and_made_anew(place: Place, auth: Running, kind: str) -> None:
    email, password = address(), "short"
    old = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, b"2a")).decode()
    if kind == "argon2":
        old = PasswordHasher(time_cost=1, memory_cost=1024).hash(password)
    good(auth.admin("POST", "/admin/users", json={"email": email, "password_hash": old, "email_confirm": True}))
    with running(place, bcrypt_cost=5) as stronger:
        good(sign_in(stronger, email, password))
        kept = place.rows("select encrypted_password from auth.users where email = %(e)s", e=email)[0]
        assert kept["encrypted_password"].startswith("$2b$05$")
        good(sign_in(stronger, email, password))


def test_an_exchanged_token_gives_one_child_to_all_who_ask_at_once(place: Place, auth: Running) -> None:
    ada = person(auth)
    told = {"refresh_token": ada.session["refresh_token"]}
    answers = [good(each) for each in auth.ask_together(24, "POST", "/token?grant_type=refresh_token", json=told)]
    assert len({each["refresh_token"] for each in answers}) == 1
    family = place.rows(
        "select revoked from auth.refresh_tokens where session_id = %(s)s order by id", s=ada.claims["session_id"]
    )
    assert [each["revoked"] for each in family] == [True, False]


def test_within_the_interval_an_old_token_gives_the_one_that_is_good_now(auth: Running) -> None:
    ada = person(auth)
    first = ada.session["refresh_token"]
    second = good(ada.refresh(first))["refresh_token"]
    third = good(ada.refresh(second))["refresh_token"]
    assert good(ada.refresh(first))["refresh_token"] == third
    good(ada.refresh(third))


def test_outside_the_interval_an_old_token_ends_the_session(place: Place, auth: Running) -> None:
    ada = person(auth)
    other = ada.again()
    first = ada.session["refresh_token"]
    second = good(ada.refresh(first))["refresh_token"]
    _later(place, ada.claims["session_id"])
    assert refused(ada.refresh(first)) == (400, "refresh_token_already_used")
    assert refused(ada.refresh(second)) == (400, "refresh_token_not_found")
    assert refused(ada.ask("GET", "/user")) == (403, "session_not_found")
    good(other.ask("GET", "/user"))
    events = place.rows("select action, outcome from auth.audit_events where chain = %(u)s", u=ada.id)
    assert {"action": "token_reused", "outcome": "refused"} in events


def _later(place: Place, session: str) -> None:
    """As if the exchange had been eleven seconds ago."""
    place.run(
        "update auth.refresh_tokens set updated_at = updated_at - interval '11 seconds' where session_id = %(s)s",
        s=session,
    )


def test_no_token_is_in_the_database(place: Place, auth: Running) -> None:
    ada = person(auth)
    token = good(ada.refresh())["refresh_token"]
    kept = place.rows("select token from auth.refresh_tokens where session_id = %(s)s", s=ada.claims["session_id"])
    assert hashlib.sha256(token.encode()).hexdigest() in {each["token"] for each in kept}
    assert token not in {each["token"] for each in kept}


@pytest.mark.parametrize(
    ("column", "ago"), [("created_at", "interval '91 days'"), ("refreshed_at", "interval '15 days'")]
)
def test_a_session_that_is_too_old_or_idle_is_over(place: Place, auth: Running, column: str, ago: str) -> None:
    ada = person(auth)
    place.run(f"update auth.sessions set {column} = now() - {ago} where id = %(s)s", s=ada.claims["session_id"])
    assert refused(ada.ask("GET", "/user")) == (403, "session_expired")
    assert refused(ada.refresh()) == (400, "session_expired")
    assert refused(ada.refresh()) == (400, "refresh_token_not_found")


@pytest.mark.parametrize(
    ("scope", "mine", "others"), [("local", False, True), ("others", True, False), ("global", False, False)]
)
def test_signing_out_ends_the_sessions_that_it_names(auth: Running, scope: str, mine: bool, others: bool) -> None:
    ada = person(auth)
    other = ada.again()
    assert ada.ask("POST", f"/logout?scope={scope}").status_code == 204
    assert (ada.ask("GET", "/user").status_code == 200) is mine
    assert (other.ask("GET", "/user").status_code == 200) is others
    assert (ada.refresh().status_code == 200) is mine
    assert (other.refresh().status_code == 200) is others


def test_a_new_password_ends_the_other_sessions(auth: Running) -> None:
    ada = person(auth)
    other = ada.again()
    assert refused(ada.ask("PUT", "/user", json={"password": PASSWORD})) == (422, "same_password")
    good(ada.ask("PUT", "/user", json={"password": "another lighthouse far away"}))
    good(ada.ask("GET", "/user"))
    assert refused(other.ask("GET", "/user")) == (403, "session_not_found")
    assert refused(sign_in(auth, ada.email)) == (400, "invalid_credentials")


def test_no_session_slips_in_beside_a_new_password(place: Place, auth: Running) -> None:
    for number in range(4):
        ada = person(auth)
        old = ("POST", "/token?grant_type=password", {"json": {"email": ada.email, "password": PASSWORD}})
        new = {"json": {"password": f"another lighthouse far away {number}"}, "headers": ada.headers}
        answers = auth.ask_all(*[old] * 8, ("PUT", "/user", new), *[old] * 8)
        assert good(answers[8])["id"] == ada.id
        left = place.rows("select id::text from auth.sessions where user_id = %(u)s", u=ada.id)
        assert [each["id"] for each in left] == [ada.claims["session_id"]]


def test_no_refresh_outlives_a_sign_out(place: Place, auth: Running) -> None:
    for _ in range(4):
        ada = person(auth)
        told = {"json": {"refresh_token": ada.session["refresh_token"]}}
        refresh = ("POST", "/token?grant_type=refresh_token", told)
        answers = auth.ask_all(*[refresh] * 8, ("POST", "/logout", {"headers": ada.headers}), *[refresh] * 8)
        assert answers[8].status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 204, 400}
        assert place.rows("select from auth.sessions where user_id = %(u)s", u=ada.id) == []
        given = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
        assert len(given) <= 1
        for token in given:
            assert refused(ada.refresh(token)) == (400, "refresh_token_not_found")


def test_an_emptied_redis_changes_nothing(place: Place, auth: Running) -> None:
    ada, gone = person(auth), person(auth)
    gone.ask("POST", "/logout")
    place.empty_redis()
    good(ada.ask("GET", "/user"))
    good(ada.refresh())
    assert refused(gone.ask("GET", "/user")) == (403, "session_not_found")
    assert refused(gone.refresh()) == (400, "refresh_token_not_found")


def test_metadata_is_merged_and_bounded(auth: Running) -> None:
    ada = person(auth)
    good(ada.ask("PUT", "/user", json={"data": {"nick": "A", "mood": {"deep": [1]}}}))
    changed = good(ada.ask("PUT", "/user", json={"data": {"nick": None, "age": 3}}))["user_metadata"]
    assert (changed.get("nick"), changed["mood"], changed["age"]) == (None, {"deep": [1]}, 3)
    assert refused(ada.ask("PUT", "/user", json={"data": {"x": "x" * 5000}})) == (400, "validation_failed")


def test_sign_ups_can_be_off_and_anonymous_ones_on(place: Place) -> None:
    with running(place, signup=False) as closed:
        assert refused(sign_up(closed, address())) == (422, "signup_disabled")
    with running(place, anonymous=True) as open_to_all:
        made = good(open_to_all.ask("POST", "/signup", json={"data": {"a": 1}}))
        assert made["user"]["is_anonymous"]
        assert good(open_to_all.ask("GET", "/user", headers={"authorization": f"Bearer {made['access_token']}"}))


def test_an_account_without_a_confirmed_address_does_not_sign_in(mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    assert refused(sign_in(mailing, email)) == (400, "email_not_confirmed")
    assert refused(sign_in(mailing, email, "not the password of ada")) == (400, "invalid_credentials")
    good(sign_in(mailing, confirmed(mailing).email))
