"""A server that takes up what is new in its files without an interruption."""

from __future__ import annotations

import docker
import pulumi
from docker.errors import NotFound
from pulumi.dynamic import Resource

from infra.components.dynamic import Properties, Provider


class ReloadedProvider(Provider):
    ignores = ("container",)

    def identity(self, props: Properties) -> str:
        return str(props["container"])

    def ensure(self, props: Properties) -> Properties:
        container = docker.from_env().containers.get(props["container"])
        if container.status == "running":  # else it begins with them
            container.kill(signal=props["signal"])
        return {}

    def observe(self, props: Properties) -> Properties | None:
        try:
            docker.from_env().containers.get(props["container"])
        except NotFound:
            return None
        return {}

    def remove(self, props: Properties) -> None:
        """Nothing to do: the container goes by itself."""


class Reloaded(Resource, module="maia", name="Reloaded"):
    """A container that was told by a signal that its ``files`` (a hash of them) are new."""

    def __init__(
        self,
        name: str,
        *,
        container: pulumi.Input[str],
        files: pulumi.Input[str],
        signal: str,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"container": container, "files": files, "signal": signal}
        super().__init__(ReloadedProvider(), name, props, opts)
