"""Arguments of containers, as the provider wants them."""

from __future__ import annotations

from collections.abc import Callable

import pulumi
import pulumi_docker as docker


def duration(seconds: int) -> str:
    """As Go writes it, so that what is read back is what was asked for."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def limit_processes(most: int) -> Callable[[pulumi.ResourceTransformationArgs], pulumi.ResourceTransformationResult]:
    """The provider knows ``pidsLimit``; the published SDK has no argument for it."""

    def add(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        return pulumi.ResourceTransformationResult({**args.props, "pidsLimit": most}, args.opts)

    return add


def bind(source: pulumi.Input[str], target: str, *, read_only: bool = True) -> docker.ContainerMountArgs:
    return docker.ContainerMountArgs(type="bind", source=source, target=target, read_only=read_only)
