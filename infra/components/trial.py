"""The gate before an app's container is replaced: its new version must be healthy beside the old one.

The candidate is the container that would take the place, with another name and address. Where it passes it stays: the
gateway turns to it while the live container is exchanged, and ``Started`` retires it once that answers. Its properties
are those whose change replaces the live container, so that it runs just then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
import pulumi
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount
from pulumi.dynamic import Resource, UpdateResult

from infra import place
from infra.catalog.model import Health
from infra.components.dynamic import Properties, Provider
from infra.components.exchange import Exchange
from infra.components.started import await_healthy
from infra.errors import MaiaError


def attempt(props: Properties) -> None:
    """Have the candidate run and answer, where a live container is there to be protected.

    Raises:
        MaiaError: it did not; it is gone then, and the live container was not touched.
    """
    client, exchange = place.of(props).docker(), _exchange(props)
    exchange.remove()  # of a run that was killed
    if not _runs(client, props["live"]):
        return
    with _only_where_it_passes(exchange):
        container = _create(client, exchange, props)
        container.start()
        await_healthy(container, list(props["health"]), int(props["patience"]))
        exchange.divert()


@contextmanager
def _only_where_it_passes(exchange: Exchange) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        exchange.remove()
        if not isinstance(error, (MaiaError, APIError)):
            raise
        reason = error.what if isinstance(error, MaiaError) else " ".join(str(error.explanation or error).split())
        where = f"maia:apps.{exchange.part}"
        raise MaiaError(
            f"the new version was tried and failed, the old one still runs: {reason}",
            where=where,
            mend=f"correct the app, or set {where}.trial to false where two must never run at once",
        ) from None


def _runs(client: docker.DockerClient, name: str) -> bool:
    try:
        return bool(client.containers.get(name).status == "running")
    except NotFound:
        return False


def _create(client: docker.DockerClient, exchange: Exchange, props: Properties) -> Container:
    """The container that the Docker provider would make of the same arguments, but for name and place."""
    (first, address), *others = props["networks"].items()
    container = client.containers.create(
        props["image"],
        name=exchange.candidate,
        detach=True,
        hostname=exchange.candidate,  # Docker would make the app's own a name by which other parts find it
        entrypoint=props["entrypoints"] or None,
        environment=props["envs"],
        use_config_proxy=False,
        user=props["user"],
        labels={label["label"]: label["value"] for label in props["labels"]},
        read_only=props["read_only"],
        cap_drop=props["capabilities"]["drops"],
        cap_add=props["capabilities"].get("adds"),
        security_opt=props["security_opts"],
        mem_limit=f"{props['memory']:.0f}m",
        memswap_limit=f"{props['memory_swap']:.0f}m",
        nano_cpus=round(float(props["cpus"]) * 1e9),
        pids_limit=int(props["pids"]),
        shm_size=f"{props['shm_size']:.0f}m",
        log_config=LogConfig(type=props["log_driver"], config=props["log_opts"]),
        dns=props["dns"],
        tmpfs=props["tmpfs"],
        mounts=[
            Mount(mount["target"], mount["source"], mount["type"], read_only=mount["readOnly"])
            for mount in props["mounts"]
        ],
        network=first,
        networking_config={first: client.api.create_endpoint_config(ipv4_address=address)},
    )
    for network, other in others:
        client.networks.get(network).connect(container, ipv4_address=other)
    return container


def _exchange(props: Properties) -> Exchange:
    return Exchange(**props["exchange"], at=place.of(props))


class TrialProvider(Provider):
    ignores = ("live", "exchange", "networks", "patience", "memory", "memory_swap", "pids")

    def identity(self, props: Properties) -> str:
        return str(props["exchange"]["candidate"])

    def ensure(self, props: Properties) -> Properties:
        """An app that is new has no version before it that could be lost."""
        return {}

    def update(self, id_: str, olds: Properties, news: Properties) -> UpdateResult:
        attempt(news)
        return super().update(id_, olds, news)

    def observe(self, props: Properties) -> Properties | None:
        return {}

    def remove(self, props: Properties) -> None:
        _exchange(props).remove()


class Trial(Resource, module="maia", name="Trial"):
    """A new version of an app that was healthy beside the old one."""

    def __init__(
        self,
        name: str,
        *,
        live: str,
        exchange: Exchange,
        networks: Mapping[str, str],
        shape: Mapping[str, Any],
        pids: int,
        health: Health,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props: dict[str, Any] = {
            "live": live,
            "exchange": exchange.data(),
            "networks": dict(networks),
            "pids": pids,
            "health": list(health.command),
            "patience": health.patience,
            **shape,
            "entrypoints": shape["entrypoints"] or [],
            **exchange.at.inputs,
        }
        secret = pulumi.ResourceOptions(additional_secret_outputs=["envs"])
        super().__init__(TrialProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))
