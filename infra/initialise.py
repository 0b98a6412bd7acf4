"""The first things a stack needs: the owner's folder, the passphrase, the secrets. Done twice, nothing changes."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from infra import atomic, authority, credentials, signing, ssh
from infra.catalog import acme, auth, backup
from infra.engine import Engine
from infra.errors import MaiaError
from infra.site import Site
from infra.stack import Stack


def given(name: str) -> bool:
    """Whether somebody else makes the secret: it is never generated, nor rotated."""
    return name in (acme.BINDING, auth.SMTP) or name.startswith(backup.GIVEN)


def made(name: str) -> str:
    """A value for a secret that the stack lacks."""
    return signing.first() if name == auth.SIGNING else credentials.generate()


def make_site(site: Site) -> None:
    """The site folder, 0700, and in it the passphrase of 256 random bits and the key for servers, both 0600."""
    site.root.mkdir(parents=True, exist_ok=True)
    site.root.chmod(0o700)
    site.state.mkdir(mode=0o700, exist_ok=True)
    site.key.parent.mkdir(mode=0o700, exist_ok=True)
    ssh.ensure_key(site.key)
    if site.passphrase.exists():
        return
    if any("encryptionsalt:" in file.read_text() for file in site.root.glob("stacks/Pulumi.*.yaml")):
        raise MaiaError(
            "missing, while there are stacks whose secrets only it can open",
            where=str(site.passphrase),
            mend="put it back from your copy",
        )
    atomic.write(site.passphrase, secrets.token_urlsafe(32))


def begin(stack: Stack, engine: Engine, say: Callable[[str], None]) -> None:
    """The site folder, the owner's stack file and the stack: what secrets are kept in."""
    make_site(stack.site)
    stack.start()
    if not engine.exists():
        say("making the stack")
        engine.ensure_stack()


def ensure(stack: Stack, engine: Engine, say: Callable[[str], None]) -> list[str]:
    """Make what is missing.

    Returns:
        The names of the secrets that were made.
    """
    begin(stack, engine, say)
    known = stack.secret_names
    missing = [name for name in stack.plan.secrets if name not in known and name not in authority.NAMES]
    if asked := [name for name in missing if given(name)]:
        name = min(asked)
        raise MaiaError("only you can have its value", where=f"secrets:{name}", mend=f"maia secrets set {name}")
    values = {name: made(name) for name in missing}
    if not known.issuperset(authority.NAMES):
        from infra.components import certificate

        values |= dict(zip(authority.NAMES, certificate.authority(stack.name), strict=True))
    for count, (name, value) in enumerate(values.items(), 1):
        say(f"secret {count} of {len(values)}")
        engine.set_secret(name, value)
    return sorted(values)
