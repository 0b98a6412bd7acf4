"""What is wrong with a stack and its machine, and the command that mends it. Reads only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
from cryptography import x509

from infra import (
    advice,
    ages,
    atomic,
    authority,
    health,
    initialise,
    preflight,
    prune,
    recovery,
    releases,
    served,
)
from infra.catalog import auth
from infra.engine import Engine
from infra.errors import MaiaError
from infra.plan import ENVELOPE
from infra.sizes import size
from infra.stack import Stack
from infra.toolchain import pulumi

WARN = timedelta(days=60)
"""Of a server certificate: `up` renews it with a third of its life left, so nobody ran that for a while."""
REPLACE = timedelta(days=400)
"""Of the CA: what it signs lives for up to 397 days."""

Finding = tuple[str, str]
"""What is wrong, and the command that mends it."""


def examine(stack: Stack) -> Iterator[Finding]:
    """Everything that is wrong, the machine first, then what is stored, then what runs."""
    try:
        plan = stack.plan
    except MaiaError as error:
        yield str(error), f"edit {stack.file if stack.exists() else stack.example}"
        return
    facts = preflight.gather(plan, stack.site, stack.place)
    for problem in preflight.judge(plan, facts):
        where = f"{problem.where}: " if problem.where else ""
        yield where + problem.what, problem.mend.partition("; nothing changed")[0]
    if facts.docker == "down":
        yield "Docker is installed and does not run", "./maia up"
        return
    if not stack.exists():
        yield f"the stack {stack.name} was never brought up", f"./maia up --stack {stack.name}"
        return
    yield from _stored(stack)
    if facts.docker == "answers":
        yield from _running(stack)


def room(stack: Stack) -> str:
    """What earlier versions left, where that is as much as a first start needs; else nothing."""
    try:
        left = sum(item.size for item in prune.find(stack.site, prune.docker_client()))
    except MaiaError:  # told as a finding
        return ""
    return f"{size(left)} of former images and tools can go" if left > preflight.DISK * 2**20 else ""


def _stored(stack: Stack) -> Iterator[Finding]:
    site = stack.site
    if not site.passphrase.exists():
        yield f"{site.passphrase} is missing", "put it back from your copy"
    elif site.passphrase.stat().st_mode & 0o077:
        yield f"others can read {site.passphrase}", f"chmod 600 {site.passphrase}"
    if site.root.stat().st_mode & 0o077:
        yield f"others can look into {site.root}", f"chmod 700 {site.root}"
    if missing := sorted(set(stack.plan.secrets) - stack.secret_names):
        yield f"secrets are missing: {', '.join(missing)}", f"./maia init --stack {stack.name}"
    if move := releases.moving(site, stack.name):
        yield releases.cut_short(move), releases.ways_on(move, stack.name)
    if authority.NEXT in stack.secret_names:
        mend = f"./maia secrets rotate ca --finish --stack {stack.name}, once every client outside has the new ca.crt"
        yield "a rotation of the CA is under way", mend
    yield from _aging(stack)
    try:
        engine = Engine(pulumi.prepare(lambda text: None), site, stack.name)
        if engine.interrupted():
            yield "an earlier run was interrupted", f"./maia up --stack {stack.name}"
        engine.secrets()
    except MaiaError as error:
        yield (f"{error.where}: {error.what}", error.mend)


def _aging(stack: Stack) -> Iterator[Finding]:
    """Secrets and certificates that have served long enough."""
    days = stack.config.care.secrets
    # Another key of API keys would end all of those: that is for the day on which one got lost.
    fixed = {recovery.KEY, ENVELOPE, auth.API, auth.SEALING, *authority.NAMES, *authority.OPTIONAL}
    for name, age in ages.old(stack.site, stack.name, days).items() if days else ():
        if name in stack.plan.secrets and name not in fixed and not initialise.given(name):
            verb = "auth keys rotate" if name == auth.SIGNING else f"secrets rotate {name}"
            yield f"the secret {name} is {age} days old", f"./maia {verb} --stack {stack.name}"
    now = datetime.now(UTC)
    for part in (container.part for container in stack.plan.containers if container.certificate):
        path = stack.home.files(stack.name) / part / "secrets" / "tls.crt"
        with contextlib.suppress(FileNotFoundError):
            text = stack.place.call(atomic.read, str(path))
            left = x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc - now
            if left < WARN:
                yield f"the certificate of {part} ends in {left.days} days", f"./maia up --stack {stack.name}"
    signer = stack.site.files(stack.name) / "gateway" / "config" / "ca.crt"
    if signer.exists():
        left = x509.load_pem_x509_certificate(signer.read_bytes()).not_valid_after_utc - now
        if left < REPLACE:
            yield f"the internal CA ends in {left.days} days", f"./maia secrets rotate ca --stack {stack.name}"


def _running(stack: Stack) -> Iterator[Finding]:
    if not stack.plan.running:
        return
    for state in health.states(stack.plan, health.client(stack.place), memory=False):
        if state.state != "running":
            yield f"{state.part} is {state.state}", f"./maia up --stack {stack.name}"
        elif not state.well:
            word = " ".join(filter(None, (state.state, state.health)))
            yield f"{state.part} is {word}", f"./maia logs {state.part} --stack {stack.name}"
        elif state.restarts > 3:
            yield f"{state.part} was restarted {state.restarts} times", f"./maia logs {state.part} --stack {stack.name}"
    yield from _certificate(stack)
    if stack.plan.has("postgres"):
        yield from _databases(stack)
    for container in stack.plan.containers:
        if not container.image_id:
            yield (
                f"the image {container.image} is not built as its recipe stands now",
                f"./maia up --stack {stack.name}",
            )


def _databases(stack: Stack) -> Iterator[Finding]:
    """What Postgres wants; a server that does not answer is told of as a part."""
    socket = stack.postgres
    with contextlib.suppress(psycopg.Error):
        found = list(advice.examine(socket, pages=False))
        for each in found[:3]:
            yield f"{each.database}: {each.object} {each.what}", f"./maia maintain --stack {stack.name}"
        if len(found) > 3:
            yield f"{len(found) - 3} more tables or indexes want care", f"./maia maintain --stack {stack.name}"
        if advice.read_only(socket):
            yield "the databases take no writes: too little of the disk is free", "./maia prune, or a larger disk"


def _certificate(stack: Stack) -> Iterator[Finding]:
    """A gateway that does not answer is told of as a part."""
    if not stack.plan.acme:
        return
    with contextlib.suppress(OSError):
        if (shown := served.look(stack.plan, stack.plan.names[0])).internal:
            mend = f"./maia logs acme --stack {stack.name}"
            yield f"no certificate from {stack.plan.acme.directory}; the gateway serves {shown}", mend
