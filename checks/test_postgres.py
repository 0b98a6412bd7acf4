"""Postgres is set up as it must be, and refuses whom it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest

from app.schema import catalogue, parts, standing
from checks.facts import Facts
from checks.plugin import Case, Expect, cases
from checks.probing import Probes
from infra import place
from infra.place import Place
from infra.plan import DATABASE, Plan
from infra.site import Site

Link = psycopg.Connection[tuple[Any, ...]]

SETTINGS = {
    "archive_mode": "on",
    "data_checksums": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "log_disconnections": "on",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_statement": "none",
    "max_parallel_maintenance_workers": "0",
    "password_encryption": "scram-sha-256",
    "pgaudit.log": "role, ddl",
    "ssl": "on",
    "ssl_min_protocol_version": "TLSv1.3",
    "synchronous_commit": "on",
    "unix_socket_permissions": "0700",
    "wal_level": "logical",
}
DEFAULTS = (("postgres", "postgres"), ("postgres", "password"), ("postgres", ""), ("supabase_admin", "postgres"))


@pytest.fixture(scope="module")
def link(plan: Plan, at: Place, home: Site) -> Iterator[Link]:
    """As superuser, over the socket that only the machine's root may use."""
    socket = place.postgres(at, str(home.sockets(plan.stack) / "postgres"))
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True, connect_timeout=5) as found:
        yield found


def _column(link: Link, query: str, *values: str) -> set[Any]:
    return {row[0] if len(row) == 1 else row for row in link.execute(query, values or None)}


@cases(lambda plan: [Case(name, "postgres") for name in SETTINGS] if plan.has("postgres") else [])
def test_setting(case: Case, link: Link, expect: Expect) -> None:
    found = link.execute("select current_setting(%s, true)", [case.rule]).fetchone()
    expect(found and found[0], SETTINGS[case.rule])


def preloaded(link: Link, plan: Plan) -> tuple[Any, Any]:
    found = link.execute("show shared_preload_libraries").fetchone()
    return {name.strip() for name in (found or [""])[0].split(",")}, {"pg_stat_statements", "pgaudit"}


def extensions(link: Link, plan: Plan) -> tuple[Any, Any]:
    wanted = {"vector", "pgaudit", "pg_stat_statements", "pgcrypto", "pg_trgm"}
    return _column(link, "select name from pg_available_extensions") & wanted, wanted


def pending_restart(link: Link, plan: Plan) -> tuple[Any, Any]:
    """What its files ask for is what it runs with."""
    return _column(link, "select name from pg_settings where pending_restart"), set()


def altered(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Nothing was set by hand beside the rendered file."""
    query = "select name from pg_file_settings where sourcefile like '%postgresql.auto.conf'"
    return _column(link, query), set()


def login_rules(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Peer through the socket, scram over TLS, or refused; and every line is understood."""
    query = "select type, auth_method from pg_hba_file_rules where error is null"
    allowed = {("local", "peer"), ("hostssl", "scram-sha-256"), ("hostssl", "reject")}
    broken = _column(link, "select line_number from pg_hba_file_rules where error is not null")
    return {"beyond": _column(link, query) - allowed, "broken": broken}, {"beyond": set(), "broken": set()}


def superusers(link: Link, plan: Plan) -> tuple[Any, Any]:
    """No login has more than its part needs.

    What the service key acts as, and what writes the changes of a migration, pass by row security and have no login.
    """
    found = _column(link, "select rolname from pg_roles where rolsuper or rolbypassrls or rolreplication")
    closed = _column(link, "select rolname from pg_roles where not rolcanlogin")
    return found - (closed & {"service_role", "maia_mover"}), {"postgres"}


def superuser_password(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Superusers come in by the socket alone, so they have none."""
    return _column(link, "select rolname from pg_authid where rolsuper and rolpassword is not null"), set()


def scram_only(link: Link, plan: Plan) -> tuple[Any, Any]:
    query = "select rolname from pg_authid where rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'"
    return _column(link, query), set()


def logins(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Each login belongs to a part of the plan."""
    found = _column(link, "select rolname from pg_roles where rolcanlogin and not rolsuper")
    return {name for name in found if name.rpartition("_")[0] not in {role.role for role in plan.roles}}, set()


def parts_present(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Each part of the plan that needs a role and a database has them."""
    roles = {role.role for role in plan.roles}
    databases = {role.database.name for role in plan.roles}
    found = _column(link, "select rolname from pg_roles"), _column(link, "select datname from pg_database")
    return (roles - found[0], databases - found[1]), (set(), set())


def owners(link: Link, plan: Plan) -> tuple[Any, Any]:
    """Databases are closed to whoever is not their part."""
    query = """select datname from pg_database where not datistemplate and datname <> 'postgres'
        and has_database_privilege('public', datname, 'connect')"""
    return _column(link, query), set()


def schema(link: Link, plan: Plan) -> tuple[Any, Any]:
    """MAIA's database is what this release makes, keeps its rules, and nobody changed anything past its log."""
    if not _column(link, "select datname from pg_database where datname = %s", DATABASE):
        return {f"there is no database {plan.database}"} if plan.database else set(), set()
    with psycopg.connect(host=link.info.host, user="postgres", dbname=DATABASE, connect_timeout=5) as found:
        state = standing.look(found)
        wrong = {*state.faults, *(f"version {version} is not applied" for version in state.pending if plan.database)}
        having = [part for part in parts.FILES if plan.database and plan.has(part)]
        wrong |= {f"the tables of {part} are not this release's" for part in parts.pending(found, having)}
        if catalogue.present(found):
            wrong |= {*catalogue.findings(found), *catalogue.altered(found)}
        return wrong, set()


RULES: Mapping[str, Callable[[Link, Plan], tuple[Any, Any]]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        *(preloaded, extensions, pending_restart, altered, login_rules, superusers, superuser_password, scram_only),
        *(logins, parts_present, owners, schema),
    )
}


@cases(lambda plan: [Case(name, "postgres") for name in RULES] if plan.has("postgres") else [])
def test_database(case: Case, plan: Plan, link: Link, expect: Expect) -> None:
    expect(*RULES[case.rule](link, plan))


@cases(
    lambda plan: (
        [Case(rule, "postgres") for rule in ("without-tls", "default-credentials", "wrong-password")]
        if plan.has("postgres")
        else []
    )
)
def test_refusals(case: Case, plan: Plan, at: Place, facts: Facts, probes: Probes, link: Link, expect: Expect) -> None:
    if case.rule == "without-tls":
        answer = probes.talk("postgres-plain")
        refused = answer.text.startswith("E") and "no encryption" in answer.text
        return expect.that(refused, " ".join(answer.text.split("\0")[:5]) or answer.outcome, "refused: no encryption")
    if case.rule == "default-credentials":
        return expect(
            {user: _login(plan, at, facts, user, password) for user, password in DEFAULTS},
            dict.fromkeys(dict(DEFAULTS), "refused"),
        )
    parts = _column(link, "select rolname from pg_roles where rolcanlogin and not rolsuper")
    if not parts:
        pytest.skip("no part has a login")
    return expect(_login(plan, at, facts, min(parts), "not-the-password"), "refused")


def _login(plan: Plan, at: Place, facts: Facts, user: str, password: str) -> str:
    """Try to log in over TLS, from beside the server."""
    part = plan.container("postgres")
    client = at.docker()
    where = f"host={part.addresses['data']} sslmode=require user={user} password='{password}' dbname=postgres"
    asked = client.api.exec_create(facts.container(part.name).inspect["Id"], ["psql", where, "-XAtqc", "select 'in'"])
    said = client.api.exec_start(asked["Id"]).decode(errors="replace").strip()
    refused = any(word in said for word in ("authentication failed", "pg_hba.conf rejects", "no password supplied"))
    return "refused" if refused else said
