"""The log of security events: whole, append-only, without secrets."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from app.auth.__main__ import main
from tests.app.auth.service import (
    PASSWORD,
    Person,
    Place,
    Running,
    address,
    code_now,
    confirmed,
    good,
    person,
    sign_in,
)
from tests.postgres import DATABASE


def faults(place: Place) -> list[dict[str, Any]]:
    return place.rows("select chain::text, number, fault from auth.broken_audit()")


def actions(place: Place, who: Person) -> list[tuple[str, str]]:
    found = place.rows("select action, outcome from auth.audit_events where chain = %(u)s order by number", u=who.id)
    return [(each["action"], each["outcome"]) for each in found]


def test_what_somebody_does_is_told_in_order(place: Place, auth: Running) -> None:
    ada = person(auth)
    sign_in(auth, ada.email, "not the password of ada")
    good(ada.refresh())
    good(ada.ask("PUT", "/user", json={"password": "another lighthouse far away"}))
    factor, secret = ada.enroll()
    ada.answer(factor, f"{(int(code_now(secret)) + 1) % 10**6:06}")
    good(ada.answer(factor, code_now(secret)))
    ada.ask("POST", "/logout")
    assert actions(place, ada) == [
        ("signed_up", "done"),
        ("signed_in", "done"),
        ("sign_in", "refused"),
        ("token_refreshed", "done"),
        ("user_updated", "done"),
        ("factor_enrolled", "done"),
        ("factor_verified", "refused"),
        ("factor_verified", "done"),
        ("signed_out", "done"),
    ]
    told = place.rows("select distinct host(address) as address from auth.audit_events where chain = %(u)s", u=ada.id)
    assert told == [{"address": auth.address}]
    assert faults(place) == []


def test_many_at_once_make_one_chain(place: Place, auth: Running) -> None:
    ada = person(auth)
    told = {"email": ada.email, "password": "not the password of ada"}
    auth.ask_together(20, "POST", "/token?grant_type=password", json=told)
    auth.ask_together(20, "POST", "/token?grant_type=password", json={**told, "email": address("nobody")})
    assert actions(place, ada).count(("sign_in", "refused")) == 20
    assert faults(place) == []


def test_strangers_do_not_make_chains_without_end(place: Place, auth: Running) -> None:
    sign_in(auth, address("nobody"), "wrong")
    count = "select count(*) from auth.audit_heads where chain::text like '00000000-0000-0000-0000-0000000000%%'"
    for _ in range(24):
        sign_in(auth, address("nobody"), "wrong")
    assert place.rows(count)[0]["count"] <= 17
    assert faults(place) == []


def test_no_secret_is_in_it(place: Place, mailing: Running) -> None:
    ada = confirmed(mailing)
    good(mailing.ask("POST", "/otp", json={"email": ada.email}))
    mail = mailing.mails(ada.email)[-1]
    factor, secret = ada.strengthen()
    codes = good(ada.ask("POST", "/factors/recovery-codes"))["codes"]
    text = json.dumps([row["row"] for row in place.rows("select to_jsonb(e) as row from auth.audit_events e")])
    assert factor in text
    for hidden in (PASSWORD, ada.email, mail["code"], secret, codes[0], ada.session["refresh_token"]):
        assert hidden not in text


TAMPERED = [
    "update auth.audit_events set detail = '{}' where chain = %(u)s and number = 2",
    "update auth.audit_events set address = '198.51.100.1' where chain = %(u)s and number = 1",
    "update auth.audit_events set outcome = 'refused' where chain = %(u)s and number = 1",
    "update auth.audit_events set actor = null where chain = %(u)s and number = 1",
    "update auth.audit_events set at = at + interval '1 microsecond' where chain = %(u)s and number = 2",
    "delete from auth.audit_events where chain = %(u)s and number = 1",
    "delete from auth.audit_events where chain = %(u)s and number = 2",
    "delete from auth.audit_events where chain = %(u)s",
    "with gone as (delete from auth.audit_events where chain = %(u)s) delete from auth.audit_heads where chain = %(u)s",
    "delete from auth.audit_heads where chain = %(u)s",
    "insert into auth.audit_events (chain, number, at, action, outcome, hash)"
    " values (%(u)s, 3, now(), 'x', 'done', '')",
    "delete from auth.audit_events where chain::text like '00000000-%%' and detail ->> 'chain' = %(u)s::text",
]


@pytest.mark.parametrize("statement", TAMPERED)
def test_whoever_changes_it_is_found_out(place: Place, auth: Running, statement: str) -> None:
    ada = person(auth)
    with place.postgres.connect(DATABASE) as link:
        link.execute("set session_replication_role = replica")
        link.execute(statement.encode(), {"u": ada.id})
        found = link.execute("select chain::text, fault from auth.broken_audit()").fetchall()
        assert {chain for chain, _ in found} & {ada.id, "00000000-0000-0000-0000-000000000000"}
        link.rollback()
    assert faults(place) == []


@pytest.mark.parametrize("role", ["maia_owner", "auth_test", "postgres"])
@pytest.mark.parametrize(
    "statement",
    [
        "update auth.audit_events set action = 'x'",
        "delete from auth.audit_events",
        "truncate auth.audit_events",
        "delete from auth.audit_heads",
    ],
)
def test_nobody_changes_it_by_the_way(place: Place, role: str, statement: str) -> None:
    with place.postgres.connect(DATABASE) as link:
        link.execute(f"set role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(statement.encode())


def test_an_event_lasts_only_with_what_it_tells_of(place: Place, auth: Running) -> None:
    ada = person(auth)
    before = actions(place, ada)
    answer = ada.ask("PUT", "/user", json={"email": person(auth).email})
    assert answer.status_code == 422
    assert actions(place, ada) == before


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_role_of_requests_reads_the_tables(place: Place, role: str) -> None:
    tables = place.rows(
        "select oid::regclass::text as name from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r'"
    )
    assert len(tables) >= 14
    with place.postgres.connect(DATABASE, autocommit=True) as link:
        link.execute(f"set role {role}".encode())
        for table in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                link.execute(f"select from {table['name']}".encode())


def test_row_security_is_forced_everywhere(place: Place) -> None:
    open_ones = place.rows(
        "select relname from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r'"
        " and not (relrowsecurity and relforcerowsecurity)"
    )
    assert open_ones == []


def test_the_machine_s_root_sees_mails_and_verifies_the_log(
    place: Place, mailing: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    email = address()
    good(mailing.ask("POST", "/otp", json={"email": email}))
    config = place.folder / "auth-root.json"
    config.write_text("{}")
    monkeypatch.setenv("MAIA_CONFIG", str(config))
    for name in ("postgres", "redis", "keys"):
        monkeypatch.setenv(f"MAIA_{name.upper()}", str(place.folder / f"{name}.json"))
    assert mailing.call(lambda: main("outbox")) == 0
    mails = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert mails[-1]["to"] == email
    assert len(mails[-1]["code"]) == 6
    assert mailing.call(lambda: main("audit")) == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert whole["faults"] == 0
    assert len(whole["root"]) == 64
