"""Lab hosts as servers of a stack: bare, with a user that lets the site's key in."""

from __future__ import annotations

from typing import Any

from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import quiet


def letting_in(lab: Lab, name: str, site: Site, **options: Any) -> Server:
    """A bare lab host whose user lets the site's key in."""
    server = lab.up(name, quiet, **options)
    key = site.key.with_suffix(".pub").read_text().strip()
    done = server.run("sh", "-c", f"echo >>.ssh/authorized_keys; echo '{key}' >>.ssh/authorized_keys")
    assert done.returncode == 0, done.stderr
    return server


def given(server: Server, **more: Any) -> dict[str, Any]:
    """What a stack file says of a lab host."""
    return {"address": server.address, "login": server.user, "kernel": "shared"} | more


def root(server: Server, script: str) -> str:
    """What root's shell says there; it must succeed."""
    done = server.run("sudo", "sh", "-euc", script)
    assert done.returncode == 0, done.stderr
    return done.stdout
