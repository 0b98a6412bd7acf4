"""What mails let their readers do, once; PKCE; what strangers learn of who has an account."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.auth.later import Later
from tests.app.auth.service import (
    ISSUER,
    PASSWORD,
    SITE,
    Person,
    Place,
    Running,
    address,
    confirmed,
    good,
    refused,
    running,
    sign_in,
    sign_up,
)
from tests.postgres import DATABASE
from tests.system.mutations import until

FORGED = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "http"}


def follow(auth: Running, link: str) -> httpx.Response:
    """As a browser does, without any key."""
    assert link.startswith(f"{ISSUER}/verify?")
    response = auth.ask("GET", link.removeprefix(ISSUER), headers={"apikey": None})
    assert response.status_code == 303
    return response


def fragment(response: httpx.Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).fragment).items()}


def challenge() -> tuple[str, dict[str, str]]:
    """A verifier, and what a request for it carries."""
    verifier = secrets.token_urlsafe(40)
    told = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return verifier, {"code_challenge": told, "code_challenge_method": "s256"}


def test_a_sign_up_is_confirmed_by_its_link_once(mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    link = mailing.mails(email)[-1]["link"]
    told = fragment(follow(mailing, link))
    assert told["type"] == "signup"
    user = good(mailing.ask("GET", "/user", headers={"authorization": f"Bearer {told['access_token']}"}))
    assert user["email_confirmed_at"]
    assert user["user_metadata"]["email_verified"]
    assert fragment(follow(mailing, link))["error_code"] == "otp_expired"


def test_a_code_is_good_once(mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    told = {"email": email, "token": mailing.mails(email)[-1]["code"], "type": "signup"}
    answers = mailing.ask_together(8, "POST", "/verify", json=told)
    assert sorted(each.status_code for each in answers) == [200] + [403] * 7


def test_a_code_is_not_found_by_trying(mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    code = mailing.mails(email)[-1]["code"]
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(5):
        assert refused(mailing.ask("POST", "/verify", json={"email": email, "token": wrong, "type": "signup"})) == (
            403,
            "otp_expired",
        )
    assert refused(mailing.ask("POST", "/verify", json={"email": email, "token": code, "type": "signup"}))[0] == 403


def test_an_old_link_is_not_good(place: Place, mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    place.run("update auth.one_time_tokens set expires_at = now() where relates_to = %(e)s", e=email)
    assert fragment(follow(mailing, mailing.mails(email)[-1]["link"]))["error_code"] == "otp_expired"


def test_neither_token_nor_code_is_in_the_database(place: Place, mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    mail = mailing.mails(email)[-1]
    token = parse_qs(urlsplit(mail["link"]).query)["token"][0]
    text = str(place.rows("select to_jsonb(t) as row from auth.one_time_tokens t where relates_to = %(e)s", e=email))
    assert token not in text
    assert mail["code"] not in text
    assert hashlib.sha256(token.encode()).hexdigest() in text
    sealed = place.rows("select sealed from auth.outbox")
    assert all(token.encode() not in bytes(row["sealed"]) for row in sealed)


def _shape(value: Any) -> Any:
    """A document without what differs from one account to the next."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return type(value).__name__


def test_a_second_sign_up_cannot_be_told_from_the_first(mailing: Running) -> None:
    there, email, meta = confirmed(mailing), address(), {"nick": "A", "a": 1}
    new = sign_up(mailing, email, data=meta)
    waiting = sign_up(mailing, email, data=meta)
    taken = sign_up(mailing, there.email, data=meta)
    shapes = [str(_shape(good(each))) for each in (new, waiting, taken)]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len({each.json()["id"] for each in (new, waiting, taken)}) == 3
    assert list(new.headers) == list(taken.headers)
    assert mailing.mails(there.email)[-1]["kind"] == "account_exists"


def test_whose_password_waits_is_not_known_when_two_wait(mailing: Running) -> None:
    email = address("victim")
    good(sign_up(mailing, email, "the password of a stranger"))
    good(sign_up(mailing, email))
    told = {"email": email, "token": mailing.mails(email)[-1]["code"], "type": "signup"}
    victim = Person(mailing, email, good(mailing.ask("POST", "/verify", json=told)))
    assert refused(sign_in(mailing, email, "the password of a stranger")) == (400, "invalid_credentials")
    good(victim.ask("PUT", "/user", json={"password": PASSWORD}))
    good(sign_in(mailing, email))


def test_the_same_sign_up_twice_keeps_its_password(mailing: Running) -> None:
    email = address()
    good(sign_up(mailing, email))
    good(sign_up(mailing, email))
    follow(mailing, mailing.mails(email)[-1]["link"])
    good(sign_in(mailing, email))


@pytest.mark.parametrize("path", ["/recover", "/otp", "/resend"])
def test_asking_for_a_mail_tells_nothing_of_who_has_an_account(mailing: Running, path: str) -> None:
    ada = confirmed(mailing)
    told = {"type": "signup", "create_user": False}
    known = mailing.ask("POST", path, json={**told, "email": ada.email})
    unknown = mailing.ask("POST", path, json={**told, "email": address("nobody")})
    assert good(known) == good(unknown) == {}


@pytest.mark.parametrize("path", ["/otp", "/recover", "/resend", "/signup", "/verify by link", "/verify by code"])
def test_the_account_is_locked_before_its_tokens(place: Place, mailing: Running, path: str) -> None:
    email = address()
    good(sign_up(mailing, email))
    good(mailing.ask("POST", "/recover", json={"email": email}))
    mail = mailing.mails(email)[-1]
    link = {"token_hash": parse_qs(urlsplit(mail["link"]).query)["token"][0], "type": "recovery"}
    code = {"token": mail["code"], "email": email, "type": "recovery"}
    told = {"/verify by link": link, "/verify by code": code}.get(path, {"email": email, "type": "signup"})
    told = {"password": PASSWORD, **told} if path == "/signup" else told
    waits = "select from pg_stat_activity where usename = 'auth_test' and wait_event_type = 'Lock'"
    with place.postgres.connect(DATABASE) as other, ThreadPoolExecutor(1) as person:
        other.execute("set local lock_timeout = '2s'")
        other.execute("select from auth.users where email = %s for update", [email])
        answer = person.submit(mailing.ask, "POST", path.split()[0], json=told)
        until(lambda: bool(place.rows(waits)), "it waits for the account", patience=10)
        touched = other.execute(
            "update auth.one_time_tokens set updated_at = updated_at where relates_to = %s", [email]
        ).rowcount
        other.commit()
        assert touched >= 2
        assert answer.result(20).status_code == 200


class Recorded(Later):
    """Takes work and does not do it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def begin(self, work: Callable[[], Awaitable[None]]) -> None:
        self.taken += 1


@pytest.mark.parametrize("path", ["/recover", "/otp", "/resend"])
def test_the_answer_does_not_wait_for_the_mail(mailing: Running, path: str) -> None:
    for email in (confirmed(mailing).email, address("nobody")):
        before, kept, later = len(mailing.mails(email)), mailing.state["service"], Recorded()
        mailing.state["service"] = dataclasses.replace(kept, later=later)
        try:
            good(mailing.ask("POST", path, json={"email": email, "type": "signup"}))
        finally:
            mailing.state["service"] = kept
        assert later.taken == 1
        assert len(mailing.mails(email)) == before


def test_a_lost_password_is_replaced(mailing: Running) -> None:
    ada = confirmed(mailing)
    good(mailing.ask("POST", f"/recover?redirect_to={SITE}/reset", json={"email": ada.email}, headers=FORGED))
    mail = mailing.mails(ada.email)[-1]
    assert mail["kind"] == "recovery"
    onward = follow(mailing, mail["link"])
    assert onward.headers["location"].startswith(f"{SITE}/reset#")
    ada.session = fragment(onward)
    good(ada.ask("PUT", "/user", json={"password": "another lighthouse far away"}))
    good(sign_in(mailing, ada.email, "another lighthouse far away"))
    assert mailing.mails(ada.email)[-1]["kind"] == "password_changed"


@pytest.mark.parametrize(
    "asked",
    [
        "https://evil.example/",
        "https://maia.example.org.evil.example/",
        "https://maia.example.org@evil.example/",
        "//evil.example/",
        "https:/\\evil.example",
        "javascript:alert(1)",
        "https://app.example.org.evil.example/",
        "https://app.example.org/../x",
        "https://maia.example.org/\r\nset-cookie: a=b",
    ],
)
def test_a_link_leads_nowhere_else(place: Place, asked: str) -> None:
    with running(place, redirects=["https://app.example.org/in/*", "maia://callback"]) as auth:
        email = address()
        good(auth.ask("POST", "/otp", params={"redirect_to": asked}, json={"email": email}, headers=FORGED))
        mail = auth.mails(email)[-1]
        assert parse_qs(urlsplit(mail["link"]).query)["redirect_to"] == [SITE]
        forged = mail["link"].replace("redirect_to=https%3A%2F%2Fmaia.example.org", "redirect_to=" + asked)
        onward = auth.ask("GET", "/verify", params=dict(parse_qs(urlsplit(forged).query)), headers={"apikey": None})
        assert onward.headers["location"].startswith(f"{SITE}#")


@pytest.mark.parametrize("asked", ["https://app.example.org/in/x?y=1", "maia://callback", f"{SITE}/any/where"])
def test_a_link_leads_where_the_configuration_says(place: Place, asked: str) -> None:
    with running(place, redirects=["https://app.example.org/in/*", "maia://callback"]) as auth:
        email = address()
        good(auth.ask("POST", "/otp", params={"redirect_to": asked}, json={"email": email}))
        assert follow(auth, auth.mails(email)[-1]["link"]).headers["location"].startswith(asked)


def test_a_code_for_the_challenge_is_exchanged_by_its_verifier_once(mailing: Running) -> None:
    ada = confirmed(mailing)
    verifier, told = challenge()
    good(mailing.ask("POST", "/otp", json={"email": ada.email, **told}))
    onward = follow(mailing, mailing.mails(ada.email)[-1]["link"])
    assert "access_token" not in onward.headers["location"]
    exchange = {"auth_code": parse_qs(urlsplit(onward.headers["location"]).query)["code"][0], "code_verifier": verifier}
    answers = mailing.ask_together(5, "POST", "/token?grant_type=pkce", json=exchange)
    assert sorted(each.status_code for each in answers) == [200, 404, 404, 404, 404]
    assert next(each for each in answers if each.status_code == 200).json()["user"]["id"] == ada.id


def test_a_code_is_no_use_to_who_does_not_know_the_verifier(place: Place, mailing: Running) -> None:
    ada = confirmed(mailing)
    verifier, told = challenge()
    good(mailing.ask("POST", "/otp", json={"email": ada.email, **told}))
    onward = follow(mailing, mailing.mails(ada.email)[-1]["link"])
    code = parse_qs(urlsplit(onward.headers["location"]).query)["code"][0]
    told = {"auth_code": code, "code_verifier": "v" * 43}
    assert refused(mailing.ask("POST", "/token?grant_type=pkce", json=told)) == (400, "bad_code_verifier")
    told = {"auth_code": code, "code_verifier": verifier}
    assert refused(mailing.ask("POST", "/token?grant_type=pkce", json=told)) == (404, "flow_state_not_found")


def test_an_address_changes_when_both_agree(mailing: Running) -> None:
    ada, new = confirmed(mailing), address("new")
    assert good(ada.ask("PUT", "/user", json={"email": new}))["new_email"] == new
    first = {"email": new, "token": mailing.mails(new)[-1]["code"], "type": "email_change"}
    assert good(mailing.ask("POST", "/verify", json=first))["code"] == "200"
    assert good(ada.ask("GET", "/user"))["email"] == ada.email
    second = {"email": ada.email, "token": mailing.mails(ada.email)[-1]["code"], "type": "email_change"}
    user = good(mailing.ask("POST", "/verify", json=second))["user"]
    assert user["email"] == new
    assert "new_email" not in user
    assert user["identities"][0]["email"] == new
    good(sign_in(mailing, new))


def test_one_end_alone_does_not_change_an_address(mailing: Running) -> None:
    ada, new = confirmed(mailing), address("new")
    good(ada.ask("PUT", "/user", json={"email": new}))
    told = {"email": new, "token": mailing.mails(new)[-1]["code"], "type": "email_change"}
    good(mailing.ask("POST", "/verify", json=told))
    assert refused(mailing.ask("POST", "/verify", json=told))[0] == 403
    assert good(ada.ask("GET", "/user"))["email"] == ada.email


def test_an_old_session_needs_a_code_to_change_the_password(place: Place) -> None:
    with running(place, reauthenticate_seconds=60) as auth:
        ada = confirmed(auth)
        place.run("update auth.sessions set created_at = now() - interval '2 minutes' where user_id = %(u)s", u=ada.id)
        new = {"password": "another lighthouse far away"}
        assert refused(ada.ask("PUT", "/user", json=new)) == (400, "reauthentication_needed")
        assert good(ada.ask("GET", "/reauthenticate")) == {}
        code = auth.mails(ada.email)[-1]["code"]
        wrong = {**new, "nonce": f"{(int(code) + 1) % 10**6:06}"}
        assert refused(ada.ask("PUT", "/user", json=wrong)) == (422, "reauthentication_not_valid")
        good(ada.ask("PUT", "/user", json={**new, "nonce": code}))


def test_mails_to_one_address_come_at_intervals_whether_it_has_an_account_or_not(place: Place) -> None:
    with running(place, limits={"mail_account": [1, 60]}) as auth:
        for email in (confirmed(auth).email, address("nobody")):
            good(auth.ask("POST", "/recover", json={"email": email}))
            again = auth.ask("POST", "/recover", json={"email": email})
            assert refused(again) == (429, "over_email_send_rate_limit")
            assert 1 <= int(again.headers["retry-after"]) <= 61
