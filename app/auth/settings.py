"""What the auth service must be told: places of its files, and how it is to behave."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.common.settings import SettingError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Filled from ``MAIA_*`` variables."""

    config: Path
    """How the service behaves: a ``Policy`` as JSON."""
    postgres: Path
    redis: Path
    keys: Path


@dataclass(frozen=True, kw_only=True)
class Smtp:
    """The server that takes our mail."""

    host: str
    port: int = 587
    sender: str = ""
    """Address that mails come from."""
    user: str = ""
    password_file: Path | None = None
    tls: str = "starttls"
    """``starttls``, ``implicit`` or ``none``."""


LIMITS = {
    "sign_in_account": (20, 900),
    "sign_in_day": (200, 86400),
    "sign_in_pair": (8, 300),
    "sign_in_address": (150, 300),
    "sign_up_address": (60, 3600),
    "anonymous_address": (30, 3600),
    "refresh_address": (300, 300),
    "verify_address": (60, 300),
    "verify_account": (20, 900),
    "mail_address": (60, 3600),
    "mail_account": (1, 60),
    "mail_day": (24, 86400),
    "factor_account": (10, 300),
    "factor_day": (50, 86400),
    "password_account": (10, 300),
}
"""How often something may happen, and in how many seconds. ``pair`` is one account from one address."""
SIGN_IN = ("sign_in_account", "sign_in_day")
FACTOR = ("factor_account", "factor_day")
"""Limits of guessing that are counted together, and forgotten together."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the service behaves; times are in seconds."""

    issuer: str
    site_url: str
    redirects: tuple[str, ...] = ()
    """Where links may lead besides the site: exact, or with one ``*`` at the end."""
    audience: str = "authenticated"
    access_seconds: int = 3600
    idle_seconds: int = 1209600
    absolute_seconds: int = 7776000
    reuse_seconds: int = 10
    """How long a refresh token that was exchanged still gives the same child."""
    link_seconds: int = 3600
    """How long a link or a code of a mail is good."""
    reauthenticate_seconds: int = 0
    """Sessions older than this need a code by mail to change the password; 0: none does."""
    bcrypt_cost: int = 12
    password_single: int = 15
    """Least length of a password that is the only factor."""
    password_second: int = 8
    """The same where there is a second factor."""
    signup: bool = True
    anonymous: bool = False
    autoconfirm: bool = False
    smtp: Smtp | None = None
    name: str = "MAIA"
    """What mails and authenticators call the service."""
    origins: tuple[str, ...] = ()
    """Origins whose pages may call the service; the site's own always may."""
    proxies: tuple[str, ...] = ()
    """Networks of the proxies whose X-Forwarded-For is believed."""
    limits: dict[str, tuple[int, int]] = field(default_factory=lambda: dict(LIMITS))


def policy(path: Path) -> Policy:
    """The policy that a file states.

    Raises:
        SettingError: it is no object of known keys with values of their kinds.
    """
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        raise SettingError(f"{path}: not JSON") from None
    if not isinstance(told, dict):
        raise SettingError(f"{path}: not an object")
    known = {known.name: known for known in dataclasses.fields(Policy)}
    if strange := sorted(set(told) - set(known)):
        raise SettingError(f"{path}: unknown keys: {', '.join(strange)}")
    values: dict[str, Any] = {key: _value(path, key, known[key].type, value) for key, value in told.items()}
    try:
        made = Policy(**values)
    except TypeError:
        raise SettingError(f"{path}: issuer and site_url must be given") from None
    if not 4 <= made.bcrypt_cost <= 16:
        raise SettingError(f"{path}: bcrypt_cost: not between 4 and 16")
    return made


def _value(path: Path, key: str, kind: Any, value: Any) -> Any:
    if key == "smtp":
        return _smtp(path, value)
    if key == "limits":
        return LIMITS | _limits(path, value)
    good = {
        "str": isinstance(value, str),
        "int": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        "bool": isinstance(value, bool),
        "tuple[str, ...]": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }
    if not good[kind]:
        raise SettingError(f"{path}: {key}: not of its kind")
    return tuple(value) if isinstance(value, list) else value


def _smtp(path: Path, value: Any) -> Smtp | None:
    if value is None:
        return None
    try:
        made = Smtp(**value)
    except TypeError:
        raise SettingError(f"{path}: smtp: not host, port, sender, user, password_file, tls") from None
    if made.tls not in ("starttls", "implicit", "none"):
        raise SettingError(f"{path}: smtp: tls: not starttls, implicit or none")
    return dataclasses.replace(made, password_file=Path(made.password_file) if made.password_file else None)


def _limits(path: Path, value: Any) -> dict[str, tuple[int, int]]:
    if not isinstance(value, dict):
        raise SettingError(f"{path}: limits: not an object")
    made = {}
    for name, pair in value.items():
        if name not in LIMITS:
            raise SettingError(f"{path}: limits: {name}: unknown")
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(part) is int and part > 0 for part in pair)):
            raise SettingError(f"{path}: limits: {name}: not [times, seconds]")
        made[name] = (pair[0], pair[1])
    return made
