"""Links lead to the appliance and back to its own pages, whatever a request says of where it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.system.auth.service import PASSWORD, Service, Session, address, why

EVIL = "evil.example"
FORGED: dict[str, Mapping[str, str]] = {
    "X-Forwarded-Host": {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "http", "X-Forwarded-Port": "80"},
    "Forwarded": {"Forwarded": f"host={EVIL};proto=http;for=127.0.0.1"},
    "X-Host": {"X-Host": EVIL, "X-HTTP-Host-Override": EVIL, "X-Forwarded-Server": EVIL},
    "X-Original-URL": {"X-Original-URL": f"https://{EVIL}/", "X-Rewrite-URL": f"https://{EVIL}/"},
    "Referer": {"Referer": f"https://{EVIL}/login"},
    "Origin": {"Origin": f"https://{EVIL}"},
    "redirect_to": {"redirect_to": f"https://{EVIL}/"},
}
ELSEWHERE = (
    f"https://{EVIL}",
    f"https://{EVIL}/?next={{origin}}/",
    f"https://{EVIL}/{{origin}}",
    f"https://{EVIL}#{{origin}}",
    f"//{EVIL}",
    f"///{EVIL}",
    f"\\\\{EVIL}",
    f"https:{EVIL}",
    f"https:\\\\{EVIL}",
    f"{{origin}}@{EVIL}/",
    f"{{origin}}.{EVIL}/",
    f"{{origin}}\\@{EVIL}/",
    f"{{origin}}%2f@{EVIL}/",
    f"{{origin}}%40{EVIL}/",
    f"{{origin}}:pass@{EVIL}/",
    f"{{scheme}}://user@{EVIL}:443@{{host}}/",
    f"{{scheme}}://{EVIL}\\@{{host}}/",
    f"{{scheme}}://{EVIL}#@{{host}}/",
    f"{{scheme}}://{EVIL}?@{{host}}/",
    f"{{scheme}}://{{host}}\t.{EVIL}/",
    f"{{scheme}}://{{host}}\n.{EVIL}/",
    f"{{scheme}}://{EVIL}\N{FULLWIDTH SOLIDUS}{{host}}/",
    f"{{scheme}}://{{host}}\N{IDEOGRAPHIC FULL STOP}{EVIL}/",
    "javascript:alert(1)",
    "javascript://{host}/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://{host}/",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "http://[::1",
    "http://2130706433/",
    "{scheme}://{host}:99999/",
)


def _asked(service: Service, email: str, **rest: Mapping[str, str]) -> str:
    """Where the link of the mail leads that somebody asks for."""
    before = len(service.mails(email))
    assert service.post("/recover", {"email": email}, **rest).status_code == 200
    return service.mail(email, before + 1).link


def _followed(service: Service, link: str) -> httpx.Response:
    assert link.startswith(f"{service.base}/verify?"), link
    answer = service.send("GET", link.removeprefix(service.base), key=None)
    assert answer.status_code == 303
    return answer


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_host_is_in_no_link(name: str, service: Service) -> None:
    person = service.person()
    link = _asked(service, person.email, headers=FORGED[name])
    assert EVIL not in service.mail(person.email).text
    assert EVIL not in _followed(service, link).headers["location"]


def test_another_host_is_in_no_link(service: Service) -> None:
    """The gateway may not know the name; what goes through is answered as ever."""
    person = service.person()
    headers = {"Host": EVIL, "apikey": service.anon}
    with suppress(httpx.RemoteProtocolError):  # it may hang up on who names another host
        sent = service.http.post(f"{service.base}/recover", json={"email": person.email}, headers=headers)
        assert sent.status_code < 500
        assert EVIL not in sent.headers.get("location", "")
    service.count(person.email)
    for mail in service.mails(person.email):
        assert mail.link.startswith(f"{service.base}/verify?")
        assert EVIL not in mail.text


def test_nobody_is_led_elsewhere(service: Service) -> None:
    """Neither by what the request names, nor by what the link is changed to afterwards."""
    person, parts = service.person(), urlsplit(service.origin)
    for pattern in ELSEWHERE:
        place = pattern.format(origin=service.origin, scheme=parts.scheme, host=parts.netloc)
        link = _asked(service, person.email, params={"redirect_to": place})
        told = dict(parse_qs(urlsplit(link).query))
        for way in (link, str(httpx.URL(link).copy_set_param("redirect_to", place))):
            location = _followed(service, way).headers["location"]
            arrived = urlsplit(location)
            assert (arrived.scheme, arrived.netloc) == (parts.scheme, parts.netloc), (ascii(place), location, told)


def test_who_asks_without_a_place_comes_home(service: Service) -> None:
    link = _asked(service, service.person().email)
    location = _followed(service, link).headers["location"]
    assert location.partition("#")[0].rstrip("/") == service.origin


def test_a_link_tells_nobody_where_it_was_followed_from(service: Service) -> None:
    """What lets somebody in is in the fragment, which no server sees, and the answer is kept nowhere."""
    answer = _followed(service, _asked(service, service.person().email))
    before, _, fragment = answer.headers["location"].partition("#")
    assert "access_token" in parse_qs(fragment)
    assert "token" not in before
    assert "no-store" in answer.headers["cache-control"]


def test_a_link_is_good_once_even_at_once(service: Service) -> None:
    person = service.person()
    link = _asked(service, person.email)
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: _followed(service, link).headers["location"], range(8)))
    assert sum("access_token=" in place for place in places) == 1
    assert sum("error_code=otp_expired" in place for place in places) == 7


def test_who_only_looks_whether_it_is_there_does_not_spend_it(service: Service) -> None:
    """Mail scanners do."""
    link = _asked(service, service.person().email)
    service.send("HEAD", link.removeprefix(service.base), key=None)
    assert "access_token=" in _followed(service, link).headers["location"]


def test_a_newer_link_ends_the_older(service: Service) -> None:
    person = service.person()
    older, newer = _asked(service, person.email), _asked(service, person.email)
    assert "error_code=otp_expired" in _followed(service, older).headers["location"]
    assert "access_token=" in _followed(service, newer).headers["location"]


def test_a_link_that_is_too_old(service: Service) -> None:
    person = service.person()
    link = _asked(service, person.email)
    with service.database() as database:
        moved = database.execute(
            "update auth.one_time_tokens set created_at = created_at - interval '1 day',"
            " expires_at = expires_at - interval '1 day' where user_id = %s",
            [person.id],
        )
        assert moved.rowcount
    assert "error_code=otp_expired" in _followed(service, link).headers["location"]


def test_a_code_is_not_guessed(service: Service) -> None:
    """After a handful of wrong ones the right one is none any more."""
    person = service.person()
    service.post("/recover", {"email": person.email})
    right = service.mail(person.email).code
    for number in range(20):
        wrong = f"{(int(right) + 1 + number) % 1_000_000:06}"
        assert service.post("/verify", {"email": person.email, "token": wrong, "type": "recovery"}).status_code != 200
    assert service.post("/verify", {"email": person.email, "token": right, "type": "recovery"}).status_code in (
        403,
        429,
    )


def test_a_code_of_one_is_none_of_another(service: Service) -> None:
    one, other = service.person(), service.person()
    for person in (one, other):
        service.post("/recover", {"email": person.email})
    code = service.mail(one.email).code
    if code != service.mail(other.email).code:
        answer = service.post("/verify", {"email": other.email, "token": code, "type": "recovery"})
        assert why(answer) == (403, "otp_expired")


@pytest.mark.parametrize("kind", ["signup", "invite", "email_change", "recovery ", "RECOVERY", "sms", ""])
def test_a_link_for_one_purpose_is_for_no_other(kind: str, service: Service) -> None:
    person = service.person()
    token = parse_qs(urlsplit(_asked(service, person.email)).query)["token"][0]
    answer = service.post("/verify", {"type": kind, "token_hash": token})
    assert answer.status_code in (400, 403, 422)
    assert service.post("/verify", {"type": "recovery", "token_hash": token}).status_code in (200, 403)


def test_what_waits_in_the_outbox_lies_there_sealed(service: Service) -> None:
    person = service.person()
    link = _asked(service, person.email)
    mail = service.mail(person.email)
    token = parse_qs(urlsplit(link).query)["token"][0]
    assert service.kept(token, f'"{mail.code}"', f",{mail.code},") == []


def test_markup_in_a_name_is_none_in_a_mail(service: Service) -> None:
    email = address()
    name = f'"><a href="https://{EVIL}/">click</a>'
    assert service.sign_up(email, PASSWORD, {"data": {"name": name, "email": f"thief@{EVIL}"}}).status_code == 200
    text = service.mail(email).text
    assert f'href="https://{EVIL}' not in text
    assert service.count(f"thief@{EVIL}") == 0


def test_a_session_by_link_belongs_to_its_owner(service: Service) -> None:
    person = service.person()
    token = parse_qs(urlsplit(_asked(service, person.email)).query)["token"][0]
    session = Session.of(service.post("/verify", {"type": "recovery", "token_hash": token}))
    assert session.user["id"] == person.id
    assert service.user(session.access).json()["email"] == person.email
