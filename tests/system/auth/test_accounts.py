"""Who has an account stays between them and the service, and each address and password means one thing."""

from __future__ import annotations

import statistics
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt
import httpx
import pytest

from tests.system.auth.service import PASSWORD, Person, Service, Session, address, why

Ask = Callable[[Service, str], httpx.Response]
SILENT = {"connection", "content-length", "date"}
"""Headers of the connection, not of the answer."""
OWN = ("id", "sub", "user_id", "identity_id", "email", "_at")
"""Members of an answer that differ between any two accounts."""
ASKED: dict[str, Ask] = {
    "a wrong password": lambda service, email: service.sign_in(email, "not the password of anybody"),
    "an empty password": lambda service, email: service.sign_in(email, ""),
    "a password of 73 bytes": lambda service, email: service.sign_in(email, "x" * 73),
    "sign-up": lambda service, email: service.sign_up(email, "quite another password"),
    "sign-up with a weak password": lambda service, email: service.sign_up(email, "short"),
    "recovery": lambda service, email: service.post("/recover", {"email": email}),
    "a link, for who is known": lambda service, email: service.post("/otp", {"email": email, "create_user": False}),
    "the mail again": lambda service, email: service.post("/resend", {"email": email, "type": "signup"}),
    "a wrong code": lambda service, email: service.post(
        "/verify", {"email": email, "token": "000000", "type": "email"}
    ),
    "a wrong code of recovery": lambda service, email: service.post(
        "/verify", {"email": email, "token": "000000", "type": "recovery"}
    ),
}
E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
LONG_ENOUGH = f"caf{E_ACUTE} au lait on the pier"


def _shape(value: object, name: str = "") -> object:
    """A body without what differs between any two accounts."""
    if isinstance(value, dict):
        return {key: _shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item, name) for item in value]
    return type(value).__name__ if name.endswith(OWN) else value


@pytest.mark.parametrize("what", ASKED)
def test_who_is_known_is_answered_as_who_is_not(what: str, service: Service) -> None:
    pending = address()
    service.sign_up(pending)
    known, unknown = (ASKED[what](service, email) for email in (service.person().email, address()))
    waiting = ASKED[what](service, pending)
    for other in (unknown, waiting):
        assert known.status_code == other.status_code
        assert _shape(known.json()) == _shape(other.json())
        assert {name for name, _ in known.headers.items()} - SILENT == {
            name for name, _ in other.headers.items()
        } - SILENT


def test_the_same_work_is_done_for_nobody(service: Service) -> None:
    """Medians of turns; the distributions are in the benchmark. Where nothing is hashed, it is many times quicker."""
    person = service.person()
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(40):
        known = number % 2 == 0
        if number % 10 == 0:
            service.forget()  # so many wrong ones are too many
        began = time.perf_counter()
        answer = service.sign_in(person.email if known else address(), "not the password of anybody")
        times[known].append(time.perf_counter() - began)
        assert why(answer) == (400, "invalid_credentials")
    assert 0.5 < statistics.median(times[True]) / statistics.median(times[False]) < 2


@pytest.mark.parametrize(
    "spell", [str.upper, str.title, lambda text: f" {text}\t", lambda text: text.replace("e", "E")]
)
def test_one_address_is_one_account(spell: Callable[[str], str], service: Service) -> None:
    person = service.person()
    assert service.sign_in(spell(person.email)).json()["user"]["id"] == person.id
    service.sign_up(spell(person.email), "quite another password")
    with service.database() as link:
        count = link.execute("select count(*) from auth.users where lower(trim(email)) = %s", [person.email]).fetchone()
    assert count == (1,)


def test_letters_that_look_the_same_make_no_second_account(service: Service) -> None:
    name = address()
    pairs = [
        (f"{E_ACUTE}{name}", unicodedata.normalize("NFD", f"{E_ACUTE}{name}")),
        (f"\N{FULLWIDTH LATIN SMALL LETTER A}{name}", f"a{name}"),
        (f"\N{KELVIN SIGN}{name}", f"k{name}"),
        (f"\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}{name}", f"i{name}"),
        (name.replace("@", "\N{FULLWIDTH COMMERCIAL AT}"), name),
        (
            name.replace("example", "ex\N{LATIN SMALL LETTER A WITH DIAERESIS}mple"),
            name.replace("example", "xn--exmple-cua"),
        ),
    ]
    for one, other in pairs:
        first = service.sign_up(one)
        if first.status_code == 200:
            taken = first.json()["email"]
            assert taken.isascii(), "what is kept is what mail is sent to"
            service.sign_up(other)
            with service.database() as link:
                found = link.execute("select count(*) from auth.users where email = %s", [taken]).fetchone()
            assert found == (1,)
        else:
            assert why(first)[1] in ("validation_failed", "email_address_invalid"), ascii(one)


def test_a_mail_goes_to_no_domain_that_only_looks_the_same(service: Service) -> None:
    """IDNA of 2003 took these letters for others, and so one domain for another."""
    local = address().partition("@")[0]
    for domain in (
        "stra\N{LATIN SMALL LETTER SHARP S}e.example",
        "a\u200db.example",
        "fu\N{GREEK SMALL LETTER FINAL SIGMA}.example",
    ):
        answer = service.sign_up(f"{local}@{domain}")
        if answer.status_code == 200:
            assert answer.json()["email"].partition("@")[2].startswith("xn--")
    assert service.count(f"{local}@strasse.example") == service.count(f"{local}@ab.example") == 0


@pytest.mark.parametrize(
    "email",
    [
        *(
            "",
            "nobody",
            "@example.org",
            "nobody@",
            "a@b",
            "a b@example.org",
            "a@exa mple.org",
            "a@b@example.org",
            "a@-b.org",
        ),
        *("a@example..org", ".a@example.org", "a..b@example.org", "a@example.org,b@example.org", "<a@example.org>"),
        *(
            '"a"@example.org',
            "a@[127.0.0.1]",
            "a" * 65 + "@example.org",
            "a@" + "b" * 250 + ".org",
            "a@example.org\x7f",
        ),
    ],
    ids=range(19),
)
def test_an_address_that_is_none(email: str, service: Service) -> None:
    status, code = why(service.sign_up(email))
    assert status in (400, 422)
    assert code in ("validation_failed", "email_address_invalid", "anonymous_provider_disabled", "bad_json")


def test_a_password_is_not_cut(service: Service) -> None:
    whole = "lighthouse " + "x7" * 30 + "z"
    assert len(whole) == 72
    person = service.person(password=whole)
    assert service.sign_in(person.email, whole).status_code == 200
    assert why(service.sign_in(person.email, f"{whole}1")) == (400, "invalid_credentials")
    assert why(service.sign_in(person.email, whole[:-1])) == (400, "invalid_credentials")
    for longer in (f"{whole}1", "lighthouse " + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 31, whole * 50):
        status, code = why(service.sign_up(address(), longer))
        assert status in (400, 422)
        assert code in ("validation_failed", "weak_password")


def test_a_zero_does_not_end_a_password(service: Service) -> None:
    person = service.person()
    assert why(service.sign_in(person.email, f"{PASSWORD}\0more"))[0] == 400
    assert why(service.sign_up(address(), f"{PASSWORD}\0more"))[0] in (400, 422)


def test_a_password_is_the_same_however_its_letters_are_typed(service: Service) -> None:
    person = service.person(password=unicodedata.normalize("NFC", LONG_ENOUGH))
    for form in ("NFC", "NFD"):
        assert service.sign_in(person.email, unicodedata.normalize(form, LONG_ENOUGH)).status_code == 200
    assert service.sign_in(person.email, LONG_ENOUGH.replace(E_ACUTE, "e")).status_code == 400
    assert service.sign_in(person.email, LONG_ENOUGH.upper()).status_code == 400
    assert service.sign_in(person.email, f" {LONG_ENOUGH}").status_code == 400


def _hash(service: Service, person: Person) -> str:
    with service.database() as link:
        found = link.execute("select encrypted_password from auth.users where id = %s", [person.id]).fetchone()
    assert found
    return str(found[0])


def test_a_weaker_hash_is_made_anew_at_sign_in(service: Service) -> None:
    """One that was brought along is good for its owner, whatever is wanted of new passwords."""
    person, today = service.person(), service.person()
    weak = bcrypt.hashpw(b"short", bcrypt.gensalt(4)).decode()
    with service.database() as link:
        link.execute("update auth.users set encrypted_password = %s where id = %s", [weak, person.id])
    assert why(service.sign_in(person.email, "shorter")) == (400, "invalid_credentials")
    assert _hash(service, person) == weak
    for _ in range(2):
        assert service.sign_in(person.email, "short").status_code == 200
    known = _hash(service, person)
    assert known.split("$")[2] == _hash(service, today).split("$")[2] != "04"
    assert bcrypt.checkpw(b"short", known.encode())


@pytest.mark.parametrize(
    "known",
    ["", "rubbish", "$2b$12$tooshort", "$argon2id$v=19$m=1,t=1,p=1$AA$AA", "$2b$99$" + "a" * 53, "$2b$04$" + "!" * 53],
)
def test_a_hash_that_is_none_lets_nobody_in(known: str, service: Service) -> None:
    person = service.person()
    with service.database() as link:
        link.execute("update auth.users set encrypted_password = %s where id = %s", [known, person.id])
    for password in (PASSWORD, "", known, "rubbish"):
        assert service.sign_in(person.email, password).status_code == 400


THIEF, OWNER = "the thief chose this password", "the owner chose this password"


def test_who_signed_up_with_another_s_address_gains_nothing(service: Service) -> None:
    """The owner comes later by a link or a new password; what was chosen before they did opens nothing."""
    for path, kind in (("/otp", "email"), ("/recover", "recovery")):
        email = address()
        assert service.sign_up(email, THIEF, {"data": {"name": "thief"}}).status_code == 200
        first = service.mail(email)
        assert service.post(path, {"email": email}).status_code == 200
        code = service.mail(email, 2).code
        assert code != first.code
        assert service.post("/verify", {"email": email, "token": code, "type": kind}).status_code == 200
        assert why(service.sign_in(email, THIEF)) == (400, "invalid_credentials")


def test_of_two_sign_ups_with_one_address_neither_is_believed(service: Service) -> None:
    """Both mails go to the owner of the address, who cannot tell by them whose password they confirm."""
    email = address()
    service.sign_up(email, THIEF)
    earlier = service.mail(email).code
    service.sign_up(email, OWNER)
    assert service.post("/verify", {"email": email, "token": earlier, "type": "signup"}).status_code == 403
    later = service.mail(email, 2).code
    session = Session.of(service.post("/verify", {"email": email, "token": later, "type": "signup"}))
    assert why(service.sign_in(email, THIEF)) == (400, "invalid_credentials")
    if service.sign_in(email, OWNER).status_code != 200:
        assert service.send("PUT", "/user", token=session.access, json={"password": OWNER}).status_code == 200
        assert service.sign_in(email, OWNER).status_code == 200


def test_mails_that_are_asked_for_at_once_do_not_wait_for_each_other(service: Service) -> None:
    """Whatever writes a mail of an account takes what it changes in the same order."""
    addresses = [address() for _ in range(4)]
    asked: list[Ask] = [
        lambda service, email: service.post("/otp", {"email": email}),
        lambda service, email: service.sign_up(email, THIEF),
        lambda service, email: service.post("/recover", {"email": email}),
        lambda service, email: service.sign_up(email, OWNER),
    ]
    with ThreadPoolExecutor(16) as pool:
        turns = [pool.submit(ask, service, email) for _ in range(10) for email in addresses for ask in asked]
    assert {turn.result().status_code for turn in turns} == {200}


def test_who_signs_up_twice_has_one_password(service: Service) -> None:
    email = address()
    service.sign_up(email)
    service.sign_up(email)
    code = service.mail(email, 2).code
    assert service.post("/verify", {"email": email, "token": code, "type": "signup"}).status_code == 200
    assert service.sign_in(email).status_code == 200


@pytest.mark.parametrize("path", ["/recover", "/otp", "/resend"])
def test_a_stranger_who_asks_for_mails_takes_nobody_s_password(path: str, service: Service) -> None:
    email = address()
    service.sign_up(email)
    code = service.mail(email).code
    assert service.post(path, {"email": email, "type": "signup", "create_user": False}).status_code == 200
    if path == "/resend":
        code = service.mail(email, 2).code
    assert service.post("/verify", {"email": email, "token": code, "type": "signup"}).status_code == 200
    assert service.sign_in(email).status_code == 200


def test_nobody_gets_in_before_the_address_is_confirmed(service: Service) -> None:
    email = address()
    session = service.sign_up(email)
    assert "access_token" not in session.json()
    assert why(service.sign_in(email)) == (400, "email_not_confirmed")
    assert why(service.sign_in(email, "not the password of anybody")) == (400, "invalid_credentials")
