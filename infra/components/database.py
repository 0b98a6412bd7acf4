"""Databases, roles and logins in the appliance's Postgres, over its administrative socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pulumi
from psycopg import sql
from pulumi.dynamic import Resource

from infra import machine, place
from infra.components.dynamic import Properties, Provider
from infra.place import HERE, Place

PATIENCE = 10
"""Seconds that what a login has under way may still take when the login goes."""
INTERVAL = 0.1
BUSY = "select 1 from pg_stat_activity where usename = %s and state <> 'idle'"


@contextmanager
def administer(
    socket: str, database: str = "postgres", *, at: Place = HERE
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A superuser connection; the socket's folder and peer authentication let only the machine's root in."""
    host = place.postgres(at, socket)
    with psycopg.connect(host=host, user="postgres", dbname=database, autocommit=True, connect_timeout=10) as link:
        yield link


def _link(props: Properties, database: str = "postgres") -> AbstractContextManager[psycopg.Connection[tuple[Any, ...]]]:
    return administer(props["socket"], database, at=place.of(props))


def _exists(link: psycopg.Connection[tuple[Any, ...]], catalog: str, column: str, name: str) -> bool:
    query = sql.SQL("select 1 from {} where {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
    return link.execute(query, [name]).fetchone() is not None


def ensure_role(props: Properties) -> None:
    """The group role of a part, which owns what the part makes, and the part's database."""
    role, database = sql.Identifier(props["role"]), sql.Identifier(props["database"])
    with _link(props) as link:
        if not _exists(link, "pg_roles", "rolname", props["role"]):
            link.execute(sql.SQL("create role {} nologin noinherit").format(role))
        if props["member_of"]:
            for group in props["member_of"]:
                link.execute(sql.SQL("grant {} to {} with inherit true").format(sql.Identifier(group), role))
            link.execute(sql.SQL("grant connect on database {} to {}").format(database, role))
            return
        if not _exists(link, "pg_database", "datname", props["database"]):
            link.execute(sql.SQL("create database {} owner {}").format(database, role))
        link.execute(sql.SQL("revoke all on database {} from public").format(database))
    with _link(props, props["database"]) as link:
        for extension in props["extensions"]:
            link.execute(sql.SQL("create extension if not exists {}").format(sql.Identifier(extension)))


def role_is_there(props: Properties) -> bool:
    with _link(props) as link:
        role = _exists(link, "pg_roles", "rolname", props["role"])
        return role and _exists(link, "pg_database", "datname", props["database"])


def ensure_login(props: Properties) -> None:
    """A login that acts as the part's group role, so what it makes outlives it."""
    login, role = sql.Identifier(props["login"]), sql.Identifier(props["role"])
    with _link(props) as link:
        verb = "alter" if _exists(link, "pg_roles", "rolname", props["login"]) else "create"
        link.execute(
            sql.SQL("{} role {} login inherit nocreatedb nocreaterole password {}").format(
                sql.SQL(verb), login, sql.Literal(_verifier(link, props["password"]))
            )
        )
        link.execute(sql.SQL("grant {} to {}").format(role, login))
        link.execute(sql.SQL("alter role {} set role = {}").format(login, sql.Literal(props["role"])))


def _verifier(link: psycopg.Connection[tuple[Any, ...]], password: str) -> str:
    """The SCRAM verifier: the password itself never reaches the server, nor its statement log."""
    return link.pgconn.encrypt_password(password.encode(), b"unused", b"scram-sha-256").decode()


def login_is_there(props: Properties) -> bool:
    with _link(props) as link:
        row = link.execute(
            "select pg_has_role(l.oid, r.oid, 'member') from pg_roles l, pg_roles r"
            " where l.rolname = %s and l.rolcanlogin and not l.rolsuper and r.rolname = %s",
            [props["login"], props["role"]],
        ).fetchone()
        return row is not None and bool(row[0])


def drop_login(props: Properties) -> None:
    """End the login's connections, once what they do is done, and remove it; what it made stays, with the role."""
    with _link(props) as link:
        if not _exists(link, "pg_roles", "rolname", props["login"]):
            return
        link.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(props["login"])))
        deadline = time.monotonic() + PATIENCE
        while link.execute(BUSY, [props["login"]]).fetchone() and time.monotonic() < deadline:
            time.sleep(INTERVAL)
        link.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [props["login"]])
        link.execute(sql.SQL("drop role {}").format(sql.Identifier(props["login"])))


class Inside(Provider):
    """Something that the server holds."""

    def away(self, props: Properties) -> bool:
        return not place.of(props).call(machine.listens, f"{props['socket']}/{place.POSTGRES}")


class RoleProvider(Inside):
    replaces = ("role", "database")
    ignores = ("socket",)

    def identity(self, props: Properties) -> str:
        return f"{props['role']}@{props['database']}"

    def ensure(self, props: Properties) -> Properties:
        ensure_role(props)
        return {}

    def observe(self, props: Properties) -> Properties | None:
        return {} if role_is_there(props) else None

    def remove(self, props: Properties) -> None:
        """Nothing is removed: the role owns the data, and data outlives the part."""


class LoginProvider(Inside):
    replaces = ("login", "role")
    ignores = ("socket",)
    lingers = 2.0

    def identity(self, props: Properties) -> str:
        return str(props["login"])

    def ensure(self, props: Properties) -> Properties:
        ensure_login(props)
        return {}

    def observe(self, props: Properties) -> Properties | None:
        return {} if login_is_there(props) else None

    def remove(self, props: Properties) -> None:
        drop_login(props)


class Role(Resource, module="maia", name="PostgresRole"):
    """A part's role and database."""

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        role: str,
        database: str,
        member_of: tuple[str, ...],
        extensions: tuple[str, ...],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "socket": socket,
            "role": role,
            "database": database,
            "member_of": list(member_of),
            "extensions": list(extensions),
            **at.inputs,
        }
        super().__init__(RoleProvider(), name, props, opts)


class Login(Resource, module="maia", name="PostgresLogin"):
    """A login of a part. A new secret means a new login first, and the old one gone last."""

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        role: str,
        login: pulumi.Input[str],
        password: pulumi.Input[str],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"socket": socket, "role": role, "login": login, "password": password, **at.inputs}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        super().__init__(LoginProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))
