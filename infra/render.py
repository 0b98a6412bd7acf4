"""Templates to files: what a part mounts, computed from the whole plan.

Every template sees ``plan``, ``part`` (its ``Container``), ``address(part, zone)`` and ``dashboard(name)`` (Grafana's
JSON). Only files under ``/run/secrets`` also see ``secret(name)``, ``secrets`` and ``credential(kind)``, so no
configuration file can hold one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import bcrypt
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from infra import credentials, dashboards, signing
from infra.catalog.model import File
from infra.errors import MaiaError
from infra.plan import Container, Plan
from infra.site import REPO

TEMPLATES = REPO / "templates"


def _password_hash(secret: str) -> str:
    """A bcrypt hash that is the same each time, so that rendering twice changes nothing.

    The salt comes from the secret and the cost is the least there is: secrets here are 192 random bits, which
    no slower hash makes harder to guess.
    """
    salt = bcrypt.gensalt(4)[:7] + _bcrypt64(hashlib.sha256(b"salt:" + secret.encode()).digest()[:16])
    return bcrypt.hashpw(secret.encode(), salt).decode()


def _bcrypt64(data: bytes) -> bytes:
    """bcrypt's own base-64 of 16 bytes."""
    alphabet = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    bits = int.from_bytes(data, "big") << 4
    return bytes(alphabet[bits >> shift & 63] for shift in range(126, -6, -6))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )
    environment.filters["sha256"] = lambda text: hashlib.sha256(text.encode()).hexdigest()
    environment.filters["password_hash"] = _password_hash
    environment.filters["auth_keys"] = signing.document
    environment.filters["derived"] = credentials.derived
    environment.filters["ssh_key"] = credentials.ssh_key
    environment.filters["tagged"] = lambda secret, name, separator: credentials.tagged(name, secret, separator)
    return environment


ENVIRONMENT = _environment()


def render(file: File, plan: Plan, part: Container, secrets: Mapping[str, str] | None = None) -> str:
    """The text of one file.

    Args:
        secrets: name to value; only used for a file under ``/run/secrets``.

    Raises:
        MaiaError: the template is missing, wrong, or asks for what it may not have.
    """
    context: dict[str, Any] = {
        "plan": plan,
        "part": part,
        "address": lambda name, zone: plan.container(name).addresses[zone],
        "dashboard": dashboards.dashboard,
    }
    if file.secret:
        allowed = {n: value for n, value in (secrets or {}).items() if part.custodian or n in part.secrets}
        context["secrets"] = allowed
        context["secret"] = allowed.__getitem__
        context["credential"] = credentials.of_part(plan, part.part, allowed)
    try:
        return ENVIRONMENT.get_template(file.template).render(context)
    except (TemplateError, KeyError) as error:
        raise MaiaError(
            f"cannot be rendered for {part.part}: {type(error).__name__} {error}",
            where=f"templates/{file.template}",
            mend="correct the template or the catalog entry",
        ) from None
