"""Authenticators and recovery codes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from app.auth import totp
from tests.app.auth.service import Place, Running, code_now, good, person, refused, running


def test_a_code_of_the_authenticator_raises_the_session(auth: Running) -> None:
    ada = person(auth)
    other = ada.again()
    before = ada.session
    ada.strengthen()
    assert ada.claims["aal"] == "aal2"
    assert [each["method"] for each in ada.claims["amr"]] == ["totp", "password"]
    assert good(ada.ask("GET", "/user"))["factors"][0]["status"] == "verified"
    assert refused(other.ask("GET", "/user")) == (403, "session_not_found")
    assert good(ada.refresh())["user"]["id"] == ada.id
    assert good(ada.refresh(before["refresh_token"]))


def test_what_is_enrolled_can_be_scanned_and_is_sealed(place: Place, auth: Running) -> None:
    ada = person(auth)
    made = good(ada.ask("POST", "/factors", json={"factor_type": "totp", "friendly_name": "phone", "issuer": "Lab"}))
    assert made["totp"]["uri"].startswith("otpauth://totp/Lab:")
    assert ElementTree.fromstring(made["totp"]["qr_code"]).tag.endswith("svg")
    kept = place.rows("select secret from auth.mfa_factors where id = %(f)s", f=made["id"])[0]
    assert made["totp"]["secret"] not in kept["secret"]


def test_a_code_is_good_once(auth: Running) -> None:
    ada = person(auth)
    factor, secret = ada.enroll()
    code = code_now(secret)
    asked = [good(ada.ask("POST", f"/factors/{factor}/challenge", json={}))["id"] for _ in range(6)]
    path = f"/factors/{factor}/verify"
    requests = [
        ("POST", path, {"json": {"challenge_id": each, "code": code}, "headers": ada.headers}) for each in asked
    ]
    answers = auth.ask_all(*requests)
    assert sorted(each.status_code for each in answers) == [200] + [422] * 5
    ada.session = next(each for each in answers if each.status_code == 200).json()
    assert refused(ada.answer(factor, code)) == (422, "mfa_verification_failed")


def test_a_code_is_good_once_also_when_redis_has_forgotten_everything(place: Place, auth: Running) -> None:
    ada = person(auth)
    factor, secret = ada.enroll()
    code = code_now(secret)
    ada.session = good(ada.answer(factor, code))
    place.empty_redis()
    assert refused(ada.answer(factor, code)) == (422, "mfa_verification_failed")


@pytest.mark.parametrize(("later", "taken"), [(-3, False), (-1, True), (1, True), (3, False)])
def test_clocks_may_differ_by_one_step(auth: Running, later: int, taken: bool) -> None:
    ada = person(auth)
    factor, secret = ada.enroll()
    assert (ada.answer(factor, code_now(secret, later)).status_code == 200) is taken


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp.code(secret, seconds // totp.STEP) == code
    assert totp.step_of(secret, code, seconds) == seconds // totp.STEP


def test_an_old_question_is_not_answered(place: Place, auth: Running) -> None:
    ada = person(auth)
    factor, secret = ada.enroll()
    asked = good(ada.ask("POST", f"/factors/{factor}/challenge", json={}))["id"]
    place.run("update auth.mfa_challenges set created_at = now() - interval '6 minutes' where id = %(c)s", c=asked)
    told = {"challenge_id": asked, "code": code_now(secret)}
    assert refused(ada.ask("POST", f"/factors/{factor}/verify", json=told)) == (422, "mfa_challenge_expired")


def test_nobody_answers_for_somebody_else(auth: Running) -> None:
    ada, eve = person(auth), person(auth, "eve")
    factor, secret = ada.enroll()
    assert refused(eve.ask("POST", f"/factors/{factor}/challenge", json={})) == (404, "mfa_factor_not_found")
    assert refused(eve.ask("DELETE", f"/factors/{factor}")) == (404, "mfa_factor_not_found")
    assert ada.answer(factor, code_now(secret)).status_code == 200


def test_a_password_alone_changes_nothing_that_matters(auth: Running) -> None:
    ada = person(auth)
    factor, _ = ada.strengthen()
    weak = ada.again()
    assert weak.claims["aal"] == "aal1"
    assert refused(weak.ask("DELETE", f"/factors/{factor}")) == (422, "insufficient_aal")
    assert refused(weak.ask("POST", "/factors", json={"factor_type": "totp"})) == (403, "insufficient_aal")
    assert refused(weak.ask("PUT", "/user", json={"password": "shorter now"})) == (401, "insufficient_aal")
    good(ada.ask("PUT", "/user", json={"password": "shorter now"}))
    good(ada.ask("DELETE", f"/factors/{factor}"))
    assert good(ada.refresh())["user"].get("factors") is None
    assert refused(ada.ask("PUT", "/user", json={"password": "shorter still"})) == (422, "weak_password")


def test_codes_cannot_be_tried_one_after_the_other(place: Place) -> None:
    with running(place, autoconfirm=True, limits={"factor_account": [5, 300]}) as auth:
        ada = person(auth)
        factor, secret = ada.enroll()
        wrong = f"{(int(code_now(secret)) + 1) % 10**6:06}"
        asked = good(ada.ask("POST", f"/factors/{factor}/challenge", json={}))["id"]
        told = {"json": {"challenge_id": asked, "code": wrong}}
        answers = [ada.ask("POST", f"/factors/{factor}/verify", **told).status_code for _ in range(8)]
        assert answers == [422] * 5 + [429] * 3
        assert refused(ada.answer(factor, code_now(secret))) == (429, "over_request_rate_limit")
        good(auth.admin("POST", f"/admin/users/{ada.id}/unlock"))
        good(ada.answer(factor, code_now(secret)))


def test_recovery_codes_stand_in_for_the_factor_once_each(place: Place, auth: Running) -> None:
    ada = person(auth)
    assert refused(ada.ask("POST", "/factors/recovery-codes")) == (403, "insufficient_aal")
    ada.strengthen()
    made = good(ada.ask("POST", "/factors/recovery-codes", json={"friendly_name": "paper"}))
    assert (made["type"], made["total"], len(set(made["codes"]))) == ("recovery_code", 10, 10)
    assert refused(ada.ask("POST", "/factors/recovery-codes")) == (422, "mfa_verified_factor_exists")
    kept = place.rows("select code_hash from auth.recovery_codes where user_id = %(u)s", u=ada.id)
    assert len(kept) == 10
    assert not {row["code_hash"] for row in kept} & set(made["codes"])
    later = ada.again()
    typed = "-".join(made["codes"][0][at : at + 4].upper() for at in range(0, 16, 4))
    later.session = good(later.ask("POST", "/factors/recovery-codes/verify", json={"code": typed}))
    assert later.claims["aal"] == "aal2"
    assert later.claims["amr"][0]["method"] == "mfa/recovery_code"
    again = later.ask("POST", "/factors/recovery-codes/verify", json={"code": typed})
    assert refused(again) == (422, "mfa_verification_failed")
    assert good(later.ask("GET", "/factors/recovery-codes"))["remaining"] == 9
    new = good(later.ask("POST", "/factors/recovery-codes/regenerate"))
    assert (new["id"], new["friendly_name"]) == (made["id"], "paper")
    old = later.ask("POST", "/factors/recovery-codes/verify", json={"code": made["codes"][1]})
    assert refused(old) == (422, "mfa_verification_failed")
    good(later.ask("DELETE", "/factors/recovery-codes"))
    assert refused(later.ask("GET", "/factors/recovery-codes")) == (404, "mfa_factor_not_found")


def test_recovery_codes_go_with_the_last_factor(auth: Running) -> None:
    ada = person(auth)
    factor, _ = ada.strengthen()
    good(ada.ask("POST", "/factors/recovery-codes"))
    good(ada.ask("DELETE", f"/factors/{factor}"))
    assert "factors" not in good(ada.ask("GET", "/user"))
