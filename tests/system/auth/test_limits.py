"""Who guesses is stopped, whether or not there is anything to be guessed, and nobody else is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.auth.settings import LIMITS
from tests.system.auth.service import Person, Service, address, why
from tests.system.auth.test_factors import challenge, enrol, totp, verify

STOPPED = (429, "over_request_rate_limit")
WRONG = "not the password of anybody"
TRIES = LIMITS["sign_in_pair"][0]


@pytest.fixture
def person(service: Service) -> Person:
    return service.person()


def until_stopped(tried: Callable[[], httpx.Response], most: int = 100) -> tuple[int, httpx.Response]:
    """How many tries are answered, and what comes then."""
    for number in range(most):
        answer = tried()
        if answer.status_code == 429:
            return number, answer
    raise AssertionError(f"still answered after {most} tries")


def test_an_account_and_none_are_guessed_at_equally_often(service: Service, person: Person) -> None:
    for email in (person.email, address()):
        number, answer = until_stopped(lambda email=email: service.sign_in(email, WRONG))  # type: ignore[misc]
        assert number == TRIES
        assert why(answer) == STOPPED
        assert 0 < int(answer.headers["retry-after"]) <= LIMITS["sign_in_pair"][1] + 1


def test_the_right_password_is_one_guess_too_many(service: Service, person: Person) -> None:
    """Nobody learns by it that the last guess was right; its owner comes in again when the time is over."""
    until_stopped(lambda: service.sign_in(person.email, WRONG))
    assert why(service.sign_in(person.email, person.password)) == STOPPED
    service.forget()
    assert service.sign_in(person.email, person.password).status_code == 200


def test_another_spelling_is_no_other_account(service: Service, person: Person) -> None:
    spelled = [person.email, person.email.upper(), f" {person.email}", person.email.title()] * TRIES
    number, _ = until_stopped(lambda: service.sign_in(spelled.pop(), WRONG))
    assert number == TRIES


def test_who_is_guessed_at_is_the_only_one_stopped(service: Service, person: Person) -> None:
    until_stopped(lambda: service.sign_in(person.email, WRONG))
    other = service.person()
    assert service.sign_in(other.email, other.password).status_code == 200


def test_who_knows_the_password_is_not_counted(service: Service, person: Person) -> None:
    for _ in range(2 * TRIES):
        assert service.sign_in(person.email, person.password).status_code == 200


def test_all_at_once_are_counted_one_by_one(service: Service, person: Person) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: service.sign_in(person.email, WRONG), range(4 * TRIES)))
    assert [answer.status_code for answer in answers].count(400) == TRIES


def test_an_address_that_claims_to_be_another_is_still_one(service: Service, person: Person) -> None:
    """What a client says of where it comes from is not believed."""
    tries = iter(range(100))

    def tried() -> httpx.Response:
        claimed = f"198.51.100.{next(tries)}"
        forged = {
            "X-Forwarded-For": claimed,
            "X-Real-IP": claimed,
            "Forwarded": f"for={claimed}",
            "True-Client-IP": claimed,
        }
        sent = {"email": person.email, "password": WRONG}
        return service.post("/token?grant_type=password", sent, headers=forged)

    assert until_stopped(tried)[0] == TRIES


def test_codes_of_a_second_factor_are_not_guessed(service: Service, person: Person) -> None:
    owner = service.session(person)
    factor = enrol(service, owner)
    secret = factor["totp"]["secret"]
    good = {totp(secret, ahead) for ahead in range(-2, 3)}
    wrong = iter(code for code in (f"{number:06}" for number in range(1000)) if code not in good)

    def tried(code: str) -> httpx.Response:
        return verify(service, owner, factor["id"], challenge(service, owner, factor["id"]), code)

    number, answer = until_stopped(lambda: tried(next(wrong)))
    assert number <= LIMITS["factor_account"][0]
    assert why(answer) == STOPPED
    assert why(tried(totp(secret))) == STOPPED
    other = service.session(person)
    stopped = verify(service, other, factor["id"], challenge(service, other, factor["id"]), totp(secret))
    assert why(stopped) == STOPPED, "another device is no other account"
    service.forget()
    assert tried(totp(secret)).status_code == 200
