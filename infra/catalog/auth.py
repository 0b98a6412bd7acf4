"""Identity: accounts, passwords, sessions and tokens, as Supabase's own client expects them."""

from __future__ import annotations

from dataclasses import replace

from infra.auth import Auth
from infra.catalog import asgi, probes
from infra.catalog.model import Database, File, Limits, Needs, Redis, Route, Scrape, Service, Zone

ROLE = "maia_auth"
"""Whom the policies of the service's tables let in; it owns nothing."""
SIGNING, API, SEALING = "auth-signing", "auth-api", "auth-sealing"
"""The secrets: keys that sign what people carry, the one that API keys are signed with, and the one that second
factors are sealed with."""
SMTP = "auth-smtp"
"""The password of the mail server's account: its owner has it, so it is never generated."""

COMMANDS = (
    "-@all",
    *("+@connection", "+@sortedset", "+@string", "+del", "+exists", "+expire", "+pexpire", "+pttl", "+ttl", "+unlink"),
    *("+evalsha", "+script|load", "+time"),
    *("-@admin", "-@dangerous"),
)
"""What works on keys that it names: nothing that lists keys, which no pattern bounds, or that empties a database."""

MEASURES = "/run/metrics"
"""Where its processes put down what they counted, to be told as one."""

SERVICE = Service(
    name="auth",
    title="Identity: accounts, sessions and tokens",
    image="auth",
    version_of="maia",
    optional=True,
    zones=(Zone.APPS, Zone.DATA, Zone.OPS),
    ports=(8000,),
    command=asgi.serve("app.auth.main:app", 8000, workers=2),
    env={
        "PROMETHEUS_MULTIPROC_DIR": MEASURES,
        "MAIA_CONFIG": "/etc/maia/auth.json",
        "MAIA_POSTGRES": "/run/secrets/postgres.json",
        "MAIA_REDIS": "/run/secrets/redis.json",
        "MAIA_KEYS": "/run/secrets/keys.json",
        "MAIA_CA": "/etc/maia/ca.crt",
    },
    files=(
        File(path="/etc/maia/auth.json", template="auth/auth.json.j2"),
        File(path="/run/secrets/keys.json", template="auth/keys.json.j2"),
        File(path="/run/secrets/postgres.json", template="app/postgres.json.j2", live=True),
        File(path="/run/secrets/redis.json", template="app/redis.json.j2", live=True),
    ),
    secrets=(API, SEALING, SIGNING),
    scratch=("/tmp", MEASURES),
    needs=Needs(
        database=Database(name="maia", member_of=(ROLE,)),
        redis=Redis(keys=("auth:*",), commands=COMMANDS),
    ),
    routes=(Route(path="/auth/v1/", port=8000, strip=True),),
    scrape=(Scrape(port=8000),),
    health=probes.http(8000, "/health"),
    # Hashing takes a processor each for a quarter of a second, and is what this part is for.
    limits=Limits(memory=384, cpus=4, pids=128),
)


def service(asked: Auth) -> Service:
    """The part, as the mail server needs it that the owner named."""
    if not asked.smtp:
        return SERVICE
    login = (File(path="/run/secrets/smtp", template="auth/smtp.j2"),) if asked.smtp.user else ()
    return replace(
        SERVICE,
        files=(*SERVICE.files, *login),
        secrets=(*SERVICE.secrets, *((SMTP,) if login else ())),
        after=("exit",),
    )
