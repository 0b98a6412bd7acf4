"""The gate behind a container: nothing that needs it goes on before its health command succeeded."""

from __future__ import annotations

import time
from typing import Any

import pulumi
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from pulumi.dynamic import Resource
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ReadTimeout

from infra import place, words
from infra.components.dynamic import Properties, Provider
from infra.components.exchange import Exchange
from infra.errors import MaiaError
from infra.place import Place

INTERVAL = 0.2
"""Seconds between two tries. Docker's own first look comes after a whole health interval."""
RESTARTS = 6
"""How often Docker may start it again, each time after twice the pause: some 6 s in all."""


def await_healthy(container: Container, command: list[str], patience: int) -> None:
    """Run the health command in the container until it succeeds.

    Raises:
        MaiaError: it did not within ``patience`` seconds, or the container stopped; with its last log lines.
    """
    deadline = time.monotonic() + patience
    while True:
        container.reload()
        if container.status in ("exited", "dead"):
            raise _ill(container, f"stopped with exit code {container.attrs['State']['ExitCode']}")
        if container.attrs["RestartCount"] >= RESTARTS:
            raise _ill(container, f"stops again and again, with exit code {container.attrs['State']['ExitCode']}")
        if container.status == "running":
            try:
                if container.exec_run(command).exit_code == 0:
                    return
            except APIError:
                pass  # between two restarts
        if time.monotonic() > deadline:
            raise _ill(container, f"not healthy after {patience} s")
        time.sleep(INTERVAL)


def _ill(container: Container, what: str, option: str = "") -> MaiaError:
    what, part = f"{what}; its last words: {words.last(container)}", container.labels["maia.part"]
    return MaiaError(what, where=container.name or "", mend=f"maia logs {part}{option}")


class Gate(Provider):
    """Something that is true of a container for as long as that is there."""

    def identity(self, props: Properties) -> str:
        return str(props["container"])

    def observe(self, props: Properties) -> Properties | None:
        try:
            place.of(props).docker().containers.get(props["container"])
        except NotFound:
            return None
        return {}

    def remove(self, props: Properties) -> None:
        """Nothing to do: the container goes by itself."""


class StartedProvider(Gate):
    replaces = ("container",)
    ignores = ("exchange",)

    def ensure(self, props: Properties) -> Properties:
        at = place.of(props)
        container = at.docker().containers.get(props["container"])
        await_healthy(container, list(props["health"]), int(props["patience"]))
        if exchange := props.get("exchange"):
            Exchange(**exchange, at=at).retire()
        return {}


class Started(Resource, module="maia", name="Started"):
    """A container that has answered as it should."""

    container: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        container: pulumi.Input[str],
        health: tuple[str, ...],
        patience: int,
        exchange: Exchange | None,
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props: dict[str, Any] = {
            "container": container,
            "health": list(health),
            "patience": patience,
            "exchange": exchange.data() if exchange else None,
            **at.inputs,
        }
        super().__init__(StartedProvider(), name, props, opts)


MIGRATION = " --migration"


def run(container: Container, patience: int) -> None:
    """Start the container and wait until it ended well.

    Raises:
        MaiaError: it failed, or did not end within ``patience`` seconds; with its last log lines.
    """
    container.start()
    try:
        code = container.wait(timeout=patience)["StatusCode"]
    except (ReadTimeout, RequestsConnectionError):
        container.stop()
        raise _ill(container, f"not done after {patience} s", MIGRATION) from None
    if code:
        raise _ill(container, f"failed with exit code {code}; what ran before still runs", MIGRATION)


class FinishedProvider(Gate):
    replaces = ("container",)

    def ensure(self, props: Properties) -> Properties:
        run(place.of(props).docker().containers.get(props["container"]), int(props["patience"]))
        return {}

    def observe(self, props: Properties) -> Properties | None:
        return {}


class Finished(Resource, module="maia", name="Finished"):
    """A container that ran to its end and succeeded."""

    def __init__(
        self, name: str, *, container: pulumi.Input[str], patience: int, at: Place, opts: pulumi.ResourceOptions
    ) -> None:
        props: dict[str, Any] = {"container": container, "patience": patience, **at.inputs}
        super().__init__(FinishedProvider(), name, props, opts)
