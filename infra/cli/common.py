"""What several verbs share: the stack they work on, its lock, the engine, and work done side by side."""

from __future__ import annotations

import argparse
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import releases
from infra.errors import MaiaError
from infra.releases import LOCK
from infra.site import Site
from infra.sizes import size as size

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from docker.models.containers import Container
    from rich.console import RenderableType

    from infra.engine import Engine
    from infra.stack import Stack

Say = Callable[[str], None]


def selected(args: argparse.Namespace) -> Stack:
    """The stack that the command line names."""
    from infra.stack import Stack

    return Stack(args.stack, Site.current())


def started(args: argparse.Namespace) -> Stack:
    """The same, where it must have been brought up or initialised before."""
    stack = selected(args)
    if not stack.exists():
        raise MaiaError(f"no stack {stack.name!r} here yet", mend=f"maia up --stack {stack.name}")
    return stack


def refuse_elsewhere(stack: Stack, verb: str, mend: str) -> None:
    """Keep a verb that works on this machine alone off a stack on a server.

    Raises:
        MaiaError: it is one.
    """
    if name := stack.place.name:
        raise MaiaError(f"only for what runs on this machine, and {stack.name} runs on {name}", where=verb, mend=mend)


def renewed(stack: Stack) -> Stack:
    """The same, with its file read anew."""
    from infra.stack import Stack

    return Stack(stack.name, stack.site)


def engine(stack: Stack, say: Say) -> Engine:
    """The engine, built if it must be, on ``stack``."""
    from infra.engine import Engine
    from infra.toolchain import pulumi

    return Engine(pulumi.prepare(say), stack.site, stack.name)


def signing(stack: Stack, secrets: Mapping[str, str]) -> Ed25519PrivateKey:
    """The key that the stack's evidence is signed with.

    Raises:
        MaiaError: the stack has none yet.
    """
    from infra import signature

    if signature.SECRET not in secrets:
        raise MaiaError("not made yet", where=f"secrets:{signature.SECRET}", mend=f"maia up --stack {stack.name}")
    return signature.private(secrets[signature.SECRET])


def running(stack: Stack, part: str, *, migration: bool = False) -> Container:
    """The container of a part, or of its migration, whatever its state.

    Raises:
        MaiaError: there is no such part, or it has no container.
    """
    from infra import health
    from infra.config import nearest
    from infra.plan.networks import migration as job

    known = [container.part for container in stack.plan.containers]
    if part not in known:
        reasons = [f"it is absent: {absent.reason}" for absent in stack.plan.absent if absent.part == part]
        raise MaiaError(f"no part {part!r}", mend=reasons[0] if reasons else nearest(part, known))
    planned = stack.plan.container(part)
    if migration and not planned.migrate:
        raise MaiaError("has no migration", where=part, mend=f"maia logs {part}")
    found = health.find(health.client(stack.place), job(planned.name) if migration else planned.name)
    if found is None:
        raise MaiaError("has no container", where=part, mend=f"maia up --stack {stack.name}")
    return found


@contextmanager
def locked(stack: Stack, verb: str) -> Iterator[int]:
    """Be the only verb that changes ``stack``, and one of the release that runs.

    Returns:
        The lock's descriptor, for a program that is to work under the same lock.

    Raises:
        MaiaError: another verb is at work, and which, its process and since when; or another release runs.
    """
    path = stack.site.lock(stack.name)
    if (inherited := _inherited(path)) is not None:
        yield inherited
        return
    stack.site.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise MaiaError(
                f"held by {file.read().strip() or 'another maia'}",
                where=f"stack {stack.name}",
                mend="wait for it to end, or stop it with Ctrl-C",
            ) from None
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"maia {verb} (pid {os.getpid()}) since {since}\n")
        file.flush()
        releases.refuse_other(stack.site, stack.name, verb)
        yield file.fileno()


def _inherited(path: Path) -> int | None:
    """The descriptor of this very lock, where the verb that started us holds it."""
    try:
        descriptor = int(os.environ[LOCK])
        return descriptor if os.path.samestat(os.fstat(descriptor), path.stat()) else None
    except (KeyError, ValueError, OSError):
        return None


def show(renderable: RenderableType) -> None:
    """Print a table; off a terminal as wide as it wants to be, so that it can be searched."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(renderable)


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs side by side; the first failure is raised at once, without waiting for the others."""
    pool = ThreadPoolExecutor(len(jobs))
    futures = [pool.submit(job) for job in jobs]
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
