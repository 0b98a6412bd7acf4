"""The auth service from outside: what it shows to nobody, whom it turns away, and that its tables are its own."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import pytest
import requests

from checks.plugin import Case, Expect, cases
from infra import place, signing
from infra.catalog.auth import ROLE, SIGNING
from infra.measurements import session
from infra.place import Place
from infra.plan import DATABASE, Plan
from infra.site import Site

BASE = "/auth/v1"
RULES = ("metrics-hidden", "unknown-key", "published-keys")
TABLES = ("secured", "owned")

UNSECURED = """select relname from pg_class where relnamespace = 'auth'::regnamespace and relkind in ('r', 'p')
    and not (relrowsecurity and relforcerowsecurity)"""
OWNED = """select c.oid::regclass::text from pg_class c where c.relowner in (
    select oid from pg_roles where pg_has_role(oid, %s, 'member') and not rolsuper)"""


@cases(lambda plan: [Case(rule, "auth") for rule in RULES] if plan.auth and plan.has("gateway") else [])
def test_auth(case: Case, plan: Plan, site: Site, secrets: Mapping[str, str], expect: Expect) -> None:
    client, base = session(plan, site)
    if case.rule == "metrics-hidden":
        return expect(_status(client, f"{base}{BASE}/metrics"), 404)
    if case.rule == "unknown-key":
        return expect(_status(client, f"{base}{BASE}/user", {"apikey": "unknown"}), 401)
    found = client.get(f"{base}{BASE}/.well-known/jwks.json", timeout=5).json()["keys"]
    private = sorted({name for key in found for name in key} & {"d", "k", "p", "q"})
    wanted = [key["kid"] for key in signing.read(secrets[SIGNING])]
    return expect({"kids": [key["kid"] for key in found], "private": private}, {"kids": wanted, "private": []})


def _status(client: requests.Session, url: str, headers: dict[str, str] | None = None) -> int:
    return client.get(url, headers=headers, timeout=5, allow_redirects=False).status_code


@cases(lambda plan: [Case(rule, "auth") for rule in TABLES] if plan.auth and plan.has("postgres") else [])
def test_accounts(case: Case, plan: Plan, at: Place, home: Site, expect: Expect) -> None:
    """Row security holds on each of its tables, and whoever is let in by its policies owns none of them."""
    socket = place.postgres(at, str(home.sockets(plan.stack) / "postgres"))
    with psycopg.connect(host=socket, user="postgres", dbname=DATABASE, connect_timeout=5) as link:
        if case.rule == "secured":
            tables = link.execute("select count(*) from pg_tables where schemaname = 'auth'").fetchone()
            if not tables or not tables[0]:
                pytest.fail("there are none", pytrace=False)
            return expect([name for (name,) in link.execute(UNSECURED)], [])
        return expect([name for (name,) in link.execute(OWNED, [ROLE])], [])
