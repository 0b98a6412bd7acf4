"""Second factors: a code is good once, guessed by nobody, and the secret lies sealed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.system.auth.service import Person, Service, Session, why

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def person(service: Service) -> Person:
    return service.person()


def totp(secret: str, ahead: int = 0) -> str:
    """The code of RFC 6238 that is good ``ahead`` periods of 30 seconds from now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, (int(time.time()) // 30 + ahead).to_bytes(8), hashlib.sha1)
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF) % 1_000_000:06}"


def enrol(service: Service, session: Session, name: str = "phone") -> dict[str, Any]:
    answer = service.send("POST", "/factors", token=session.access, json={"factor_type": "totp", "friendly_name": name})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def challenge(service: Service, session: Session, factor: str) -> str:
    answer = service.send("POST", f"/factors/{factor}/challenge", token=session.access, json={})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def verify(service: Service, session: Session, factor: str, asked: str, code: str) -> httpx.Response:
    sent = {"challenge_id": asked, "code": code}
    return service.send("POST", f"/factors/{factor}/verify", token=session.access, json=sent)


def prove(service: Service, session: Session, factor: dict[str, Any], ahead: int = 0) -> httpx.Response:
    code = totp(factor["totp"]["secret"], ahead)
    return verify(service, session, factor["id"], challenge(service, session, factor["id"]), code)


def test_a_code_is_good_once_however_many_try_at_once(service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    assert prove(service, owner, factor).status_code == 200
    devices = [service.session(person) for _ in range(6)]
    asked = [challenge(service, device, factor["id"]) for device in devices]
    code = totp(factor["totp"]["secret"], 1)
    with ThreadPoolExecutor(len(devices)) as pool:
        tried = list(pool.map(lambda n: verify(service, devices[n], factor["id"], asked[n], code), range(len(devices))))
    assert [answer.status_code for answer in tried].count(200) == 1
    assert all(answer.status_code == 200 or answer.status_code in (401, 403, 422) for answer in tried)


def test_an_emptied_redis_makes_no_code_good_again(service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    code = totp(factor["totp"]["secret"])
    assert verify(service, owner, factor["id"], challenge(service, owner, factor["id"]), code).status_code == 200
    service.forget()
    thief = service.session(person)
    answer = verify(service, thief, factor["id"], challenge(service, thief, factor["id"]), code)
    assert why(answer) == (422, "mfa_verification_failed")


@pytest.mark.parametrize("ahead", [-20, -3, 3, 20])
def test_a_code_of_another_time(ahead: int, service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    assert why(prove(service, owner, factor, ahead)) == (422, "mfa_verification_failed")


@pytest.mark.parametrize(
    "code", ["", "0", "00000", "0000000", "abcdef", " 123456", "\uff11" * 6, "-12345", "1e5", "\0" * 6], ids=range(10)
)
def test_a_code_that_is_none(code: str, service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    assert verify(service, owner, factor["id"], challenge(service, owner, factor["id"]), code).status_code in (400, 422)


def test_a_challenge_is_for_one_factor_and_one_person(service: Service, person: Person) -> None:
    mine, theirs = service.session(person), service.session(service.person())
    factor, other = enrol(service, mine), enrol(service, theirs)
    asked = challenge(service, theirs, other["id"])
    code = totp(factor["totp"]["secret"])
    assert verify(service, mine, factor["id"], asked, code).status_code in (404, 422)
    assert verify(service, mine, factor["id"], NOBODY, code).status_code in (404, 422)
    assert verify(service, theirs, factor["id"], asked, code).status_code == 404
    assert verify(service, mine, "../users", asked, code).status_code in (400, 404, 405)


def test_a_challenge_is_answered_once_and_in_time(service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    asked = challenge(service, owner, factor["id"])
    with service.database() as link:
        link.execute(
            "update auth.mfa_challenges set created_at = created_at - interval '1 hour' where id = %s", [asked]
        )
    late = verify(service, owner, factor["id"], asked, totp(factor["totp"]["secret"]))
    assert why(late) == (422, "mfa_challenge_expired")


def test_a_secret_lies_sealed_and_is_told_once(service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    secret = factor["totp"]["secret"]
    assert len(base64.b32decode(secret + "=" * (-len(secret) % 8))) >= 16
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))
    with service.database() as link:
        found = link.execute("select secret from auth.mfa_factors where id = %s", [factor["id"]]).fetchone()
    assert found
    for form in (secret, raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        assert form.rstrip("=") not in found[0]
    assert secret not in service.user(owner.access).text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"factor_type": "phone", "phone": "+15550100"},
        {"factor_type": "webauthn"},
        {"factor_type": "TOTP"},
        {"factor_type": ["totp"]},
        {"factor_type": "totp", "friendly_name": "x" * 5000},
        {"factor_type": "totp", "friendly_name": "\u202e\r\nx"},
        {"factor_type": "totp", "issuer": 'evil&secret=AAAA:"<svg onload=alert(1)>'},
        {"factor_type": "totp", "issuer": "x" * 5000},
    ],
    ids=range(9),
)
def test_an_enrolment_that_is_none(body: dict[str, Any], service: Service, person: Person) -> None:
    answer = service.send("POST", "/factors", token=service.session(person).access, json=body)
    if answer.status_code == 200:
        told = answer.json()["totp"]
        assert "<svg onload" not in told["qr_code"]
        assert httpx.URL(told["uri"]).params.get_list("secret") == [told["secret"]]
    else:
        assert answer.status_code in (400, 403, 422)
