"""A server, prepared by its roles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource, UpdateResult

from infra import plan
from infra.components.dynamic import Properties, Provider
from infra.hosts import BRIEFLY, voice, work
from infra.hosts.facts import Facts
from infra.hosts.work import Order
from infra.site import Site


def order(props: Properties) -> Order:
    """What the properties say is to be done."""
    roles = [plan.HostRole(name=name, variables=values) for name, values in json.loads(props["variables"])]
    return Order(
        site=Site(Path(props["site"])),
        stack=props["stack"],
        host=plan.Host(
            name=props["name"],
            address=props["address"],
            port=int(props["port"]),
            login=props["login"],
            kind=props["kind"],
            roles=tuple(roles),
            secrets=(),
        ),
        roles=props["roles"],
        secrets=props["secrets"],
    )


class HostProvider(Provider):
    ignores = ("site",)

    def identity(self, props: Properties) -> str:
        return f"{props['stack']}/{props['name']}"

    def ensure(self, props: Properties) -> Properties:
        return {**_told(work.carry_out(order(props), voice.through_engine(props["name"]))), "drift": []}

    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        former, name = order(_olds), _news["name"]
        if gone := [role for role in former.roles if role not in _news["roles"]]:
            work.undo(former, gone, voice.through_engine(name))
        return super().update(_id, _olds, _news)

    def observe(self, props: Properties) -> Properties | None:
        told = voice.through_engine(props["name"])
        found = work.drift(order(props), told, thorough=BRIEFLY not in os.environ)
        return found and {**_told(found[0]), "drift": found[1]}

    def remove(self, props: Properties) -> None:
        work.take_back(order(props), voice.through_engine(props["name"]))

    def expired(self, props: Properties) -> bool:
        return bool(props.get("drift"))


def _told(facts: Facts) -> Properties:
    return {"system": " ".join(facts.system), "kernel": facts.kernel, "machine": facts.machine}


class Host(Resource, module="maia:host", name="Host"):
    """A server that its roles were carried out on."""

    drift: pulumi.Output[list[str]]
    """Tasks that would change something there."""
    system: pulumi.Output[str]
    kernel: pulumi.Output[str]
    machine: pulumi.Output[str]

    def __init__(
        self,
        host: plan.Host,
        *,
        site: Site,
        stack: str,
        secrets: pulumi.Output[Mapping[str, str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        names = host.secrets
        props: dict[str, Any] = {
            "site": str(site.root.absolute()),
            "stack": stack,
            "name": host.name,
            "address": host.address,
            "port": host.port,
            "login": host.login,
            "kind": host.kind,
            "roles": {role.name: work.fed(role) for role in host.roles},
            "variables": json.dumps([[role.name, role.variables] for role in host.roles], sort_keys=True),
            "secrets": pulumi.Output.secret(secrets.apply(lambda found: {name: found[name] for name in names})),
            "drift": None,
            "system": None,
            "kernel": None,
            "machine": None,
        }
        secret = pulumi.ResourceOptions(additional_secret_outputs=["secrets"])
        super().__init__(HostProvider(), host.name, props, pulumi.ResourceOptions.merge(opts, secret))
