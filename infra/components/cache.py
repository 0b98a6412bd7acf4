"""Users of the appliance's Redis, over its administrative socket."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pulumi
import redis
from pulumi.dynamic import Resource

from infra import machine, place
from infra.components.dynamic import Properties, Provider
from infra.place import Place


def administer(props: Properties) -> Any:
    """A ``redis.Redis`` as the administrator, whose password only this machine's root can read.

    Typed loosely: redis-py declares every answer as any answer there is.
    """
    password = Path(props["admin"]).read_text()
    path = place.of(props).socket(f"{props['socket']}/redis.sock")
    return redis.Redis(unix_socket_path=path, username="admin", password=password, decode_responses=True)


def _rules(props: Properties) -> list[str]:
    keys = [f"~{pattern}" for pattern in props["keys"]] or ["resetkeys"]
    channels = [f"&{pattern}" for pattern in props["channels"]] or ["resetchannels"]
    return ["resetkeys", *keys, "resetchannels", *channels, *props["commands"]]


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def ensure_user(props: Properties) -> None:
    """The user with its rules, and this password beside those it has: a rotation needs both for a moment."""
    link = administer(props)
    link.execute_command("ACL SETUSER", props["user"], "on", *_rules(props), f"#{_digest(props['password'])}")
    link.execute_command("ACL SAVE")


def drop_password(props: Properties) -> None:
    """Take the password back; the user goes with its last one."""
    link = administer(props)
    found = link.acl_getuser(props["user"])
    if not found:
        return
    digest = _digest(props["password"])
    if [known for known in found["passwords"] if known != digest]:
        if digest in found["passwords"]:
            link.execute_command("ACL SETUSER", props["user"], f"!{digest}")
    else:
        link.acl_deluser(props["user"])
    link.execute_command("ACL SAVE")


def describe(props: Properties) -> Properties | None:
    """The user's rules as Redis states them, comparable from one look to the next."""
    found = administer(props).acl_getuser(props["user"])
    if not found or _digest(props["password"]) not in found["passwords"] or "on" not in found["flags"]:
        return None
    return {"effective": f"{found['commands']} {found['keys']} {found['channels']}"}


class UserProvider(Provider):
    replaces = ("user", "password")
    ignores = ("socket", "admin")
    lingers = 2.0

    def away(self, props: Properties) -> bool:
        return not place.of(props).call(machine.listens, f"{props['socket']}/redis.sock")

    def identity(self, props: Properties) -> str:
        return f"{props['user']}#{_digest(props['password'])[:8]}"

    def ensure(self, props: Properties) -> Properties:
        ensure_user(props)
        effective = (describe(props) or {})["effective"]
        return {"effective": effective, "intended": effective}

    def observe(self, props: Properties) -> Properties | None:
        return describe(props)

    def remove(self, props: Properties) -> None:
        drop_password(props)

    def expired(self, props: Properties) -> bool:
        return bool(props.get("effective") != props.get("intended"))


class RedisUser(Resource, module="maia", name="RedisUser"):
    """A part's Redis user with one password."""

    effective: pulumi.Output[str]
    intended: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        admin: str,
        user: str,
        keys: tuple[str, ...],
        channels: tuple[str, ...],
        commands: tuple[str, ...],
        password: pulumi.Input[str],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "socket": socket,
            "admin": admin,
            "user": user,
            "keys": list(keys),
            "channels": list(channels),
            "commands": list(commands),
            "password": password,
            "effective": None,
            "intended": None,
            **at.inputs,
        }
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        super().__init__(UserProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))
