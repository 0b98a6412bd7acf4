"""Whatever is sent, the answer is one of the service's: never its failure, and a refusal always in the one shape."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.system.auth.service import DOORS, JSON, PASSWORD, Service, look

INJECTED = (
    *(
        "' or '1'='1",
        "'; drop table auth.users; --",
        "x') returning *; --",
        "\\'; select pg_sleep(9); --",
        "$$;$$",
        "%",
        "_",
    ),
    *(
        "a@example.org'--",
        'a"@example.org',
        "{{7*7}}",
        "${7*7}",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "%s%n%x",
    ),
    *("\x00", "a\x00b@example.org", "\ud800", "a\ud800@example.org", "\u202e", "\ufeff", "🌊" * 300),
)
BREAKS = ("\r\n", "\n", "\r", "\u2028", "\x0b", "%0d%0a", "\r\n ")


@pytest.mark.parametrize("text", INJECTED, ids=range(len(INJECTED)))
def test_text_that_would_be_a_command_elsewhere(text: str, service: Service, token: str) -> None:
    body = dict.fromkeys(("email", "password", "token", "token_hash", "type", "refresh_token", "auth_code"), text)
    for path in DOORS:
        sent = json.dumps(body | {"code_verifier": text}).encode()
        answer = service.send("POST", path, content=sent, headers=JSON)
        assert answer.status_code != 200 or answer.json() == {} or "access_token" not in answer.json(), path
    told = json.dumps({"data": {"name": text}}).encode()
    service.send("PUT", "/user", token=token, content=told, headers=JSON)
    assert service.user(token).status_code == 200
    if text.isprintable() and text.isascii():
        for path in (f"/admin/users/{quote(text, safe='')}", "/admin/users", "/verify"):
            asked = {"page": text, "per_page": text, "filter": text, "token": text, "type": text, "redirect_to": text}
            service.send("GET", path, key=service.admin, token=service.admin, params=asked)
    with service.database() as link:
        assert link.execute("select count(*) > 0 from auth.users").fetchone() == (True,)


@pytest.mark.parametrize("what", BREAKS, ids=ascii)
def test_a_line_break_makes_no_header(what: str, service: Service) -> None:
    """Neither in an answer nor in a mail."""
    person = service.person()
    for email in (f"{what}{person.email}", f"{person.email}{what}Bcc: thief@example.org", f"a{what}b@example.org"):
        service.post("/otp", {"email": email})
        service.post("/signup", {"email": email, "password": PASSWORD})
    redirect = f"{service.origin}/{what}X-Injected: yes"
    for place in (redirect, f"{redirect}{what}{what}<html>"):
        link = service.administer("POST", "/admin/generate_link", {"type": "magiclink", "email": person.email}).json()
        sent = {"token": link["hashed_token"], "type": "magiclink", "redirect_to": place}
        answer = service.send("GET", "/verify", params=sent, key=None)
        assert answer.status_code == 303
        assert "x-injected" not in answer.headers
        assert "<" not in answer.headers["location"]
    assert service.count("thief@example.org") == 0


@pytest.mark.parametrize(
    "version", ["", "yesterday", "2024-13-45", "9999-99-99", "0000-00-00", "20240101", "1" * 3000], ids=range(7)
)
def test_a_version_that_is_none(version: str, service: Service) -> None:
    answer = service.send("GET", "/user", headers={"X-Supabase-Api-Version": version})
    assert answer.status_code == 401


def test_both_forms_of_a_refusal(service: Service) -> None:
    older = service.http.get(f"{service.base}/user", headers={"apikey": service.anon})
    look(older)
    assert older.json()["code"] == 401
    assert "x-supabase-api-version" not in older.headers
    newer = service.send("GET", "/user")
    assert newer.json()["code"] == older.json()["error_code"]
    assert newer.headers["x-supabase-api-version"] == "2024-01-01"


def test_what_is_not_there(service: Service) -> None:
    for path in ("/no-such-door", "/admin/no-such-door", "/.env", "/user/", "//user"):
        assert service.send("GET", path).status_code in (401, 403, 404), path
    for method, path in (("GET", "/signup"), ("DELETE", "/token"), ("PATCH", "/user"), ("POST", "/settings")):
        assert service.send(method, path).status_code in (401, 403, 404, 405), path


@pytest.mark.parametrize(
    "path",
    ["/user/../admin/users", "/%2e%2e/admin/users", "/..%2fadmin/users", "/%00", "/%ff", "/%", "/admin/users/%00"],
)
def test_a_way_around_leads_nowhere(path: str, service: Service) -> None:
    """The gateway takes some of these for addresses outside of the service, and some for none; none is an account's."""
    answer = service.http.get(f"{service.base}{path}", headers={"apikey": service.anon})
    assert answer.status_code in (400, 401, 403, 404)
    assert "email" not in answer.text


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "per_page=0", "per_page=-1", "page=99999999999999999999"]
)
def test_a_page_that_is_none(query: str, service: Service) -> None:
    service.administer("GET", f"/admin/users?{query}")


@pytest.mark.parametrize(
    "one", ["x", "0", "' or true", "00000000-0000-0000-0000-00000000000g", "..", "a" * 300], ids=range(6)
)
def test_a_user_that_is_none(one: str, service: Service) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert service.administer(method, f"/admin/users/{one}").status_code in (400, 404, 405, 414, 422), method


def test_pages_of_other_origins_may_not_call(service: Service) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "apikey,content-type"}
    for origin in ("https://evil.example", "null", f"{service.origin}.evil.example", service.origin.upper()):
        before = service.send("OPTIONS", "/token", key=None, headers={"Origin": origin, **asked})
        after = service.send("GET", "/settings", headers={"Origin": origin})
        for answer in (before, after):
            assert "access-control-allow-origin" not in answer.headers, origin
            assert "access-control-allow-credentials" not in answer.headers


def test_the_site_s_own_pages_may(service: Service) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "apikey,x-supabase-api-version"}
    before = service.send("OPTIONS", "/user", key=None, headers={"Origin": service.origin, **asked})
    after = service.send("GET", "/settings", headers={"Origin": service.origin})
    for answer in (before, after):
        assert answer.headers["access-control-allow-origin"] == service.origin
    assert "PUT" in before.headers["access-control-allow-methods"]
    allowed = before.headers["access-control-allow-headers"].lower()
    for name in ("apikey", "authorization", "content-type", "x-client-info", "x-supabase-api-version"):
        assert name in allowed
    assert "x-supabase-api-version" in after.headers["access-control-expose-headers"].lower()
