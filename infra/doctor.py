"""What is wrong with a stack and its machine, and the command that mends it. Reads only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from infra import authority, health, preflight, prune, releases, served
from infra.engine import Engine
from infra.errors import MaiaError
from infra.stack import Stack
from infra.toolchain import pulumi

Finding = tuple[str, str]
"""What is wrong, and the command that mends it."""


def examine(stack: Stack) -> Iterator[Finding]:
    """Everything that is wrong, the machine first, then what is stored, then what runs."""
    try:
        plan = stack.plan
    except MaiaError as error:
        yield str(error), f"edit {stack.file if stack.exists() else stack.example}"
        return
    for problem in preflight.judge(plan, preflight.gather(plan, stack.site)):
        where = f"{problem.where}: " if problem.where else ""
        yield where + problem.what, problem.mend.partition("; nothing changed")[0]
    if preflight.docker_state() == "down":
        yield "Docker is installed and does not run", "./maia up"
        return
    if not stack.exists():
        yield f"the stack {stack.name} was never brought up", f"./maia up --stack {stack.name}"
        return
    yield from _stored(stack)
    if preflight.docker_state() == "answers":
        yield from _running(stack)


def room(stack: Stack) -> str:
    """What earlier versions left, where that is as much as a first start needs; else nothing."""
    try:
        left = sum(item.size for item in prune.find(stack.site, prune.docker_client()))
    except MaiaError:  # told as a finding
        return ""
    return f"{prune.human(left)} of former images and tools can go" if left > preflight.DISK * 2**20 else ""


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
    try:
        engine = Engine(pulumi.prepare(lambda text: None), site, stack.name)
        if engine.interrupted():
            yield "an earlier run was interrupted", f"./maia up --stack {stack.name}"
        engine.secrets()
    except MaiaError as error:
        yield (f"{error.where}: {error.what}", error.mend)


def _running(stack: Stack) -> Iterator[Finding]:
    if not stack.plan.running:
        return
    for state in health.states(stack.plan, health.client(), memory=False):
        if state.state != "running":
            yield f"{state.part} is {state.state}", f"./maia up --stack {stack.name}"
        elif not state.well:
            word = " ".join(filter(None, (state.state, state.health)))
            yield f"{state.part} is {word}", f"./maia logs {state.part} --stack {stack.name}"
        elif state.restarts > 3:
            yield f"{state.part} was restarted {state.restarts} times", f"./maia logs {state.part} --stack {stack.name}"
    yield from _certificate(stack)
    for container in stack.plan.containers:
        if not container.image_id:
            yield (
                f"the image {container.image} is not built as its recipe stands now",
                f"./maia up --stack {stack.name}",
            )


def _certificate(stack: Stack) -> Iterator[Finding]:
    """A gateway that does not answer is told of as a part."""
    if not stack.plan.acme:
        return
    with contextlib.suppress(OSError):
        if (shown := served.look(stack.plan, stack.plan.names[0])).internal:
            mend = f"./maia logs acme --stack {stack.name}"
            yield f"no certificate from {stack.plan.acme.directory}; the gateway serves {shown}", mend
