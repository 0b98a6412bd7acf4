"""The tools that are built from source, and from which module."""

from __future__ import annotations

from infra.site import REPO
from infra.toolchain.build import Tool

_MODULES = REPO / "infra" / "toolchain"

PULUMI_VERSION = "3.250.0"
DOCKER_VERSION = "5.2.0"
NVIDIA_VERSION = "1.20.1"

ENGINE = Tool(
    name="pulumi",
    version=PULUMI_VERSION,
    module=_MODULES / "engine",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    symbols=(("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version", f"v{PULUMI_VERSION}"),),
)

DOCKER_PROVIDER = Tool(
    name="pulumi-resource-docker",
    version=DOCKER_VERSION,
    module=_MODULES / "docker-provider",
    package=".",
    tags=("no_compose",),
    symbols=(("main.version", DOCKER_VERSION),),
)

MINIO = Tool(
    name="minio",
    version="2026-02-12",
    module=_MODULES / "minio",
    package="github.com/minio/minio",
    tags=("kqueue",),
)

_NVIDIA = "github.com/NVIDIA/nvidia-container-toolkit"
_LATE = ("-Wl,--export-dynamic", "-Wl,--unresolved-symbols=ignore-in-object-files", "-Wl,-z,lazy")
"""The driver's library is looked for when the program runs: there is none where it is built."""

NVIDIA_CTK = Tool(
    name="nvidia-ctk",
    version=NVIDIA_VERSION,
    module=_MODULES / "nvidia",
    package=f"{_NVIDIA}/cmd/nvidia-ctk",
    symbols=((f"{_NVIDIA}/internal/info.version", NVIDIA_VERSION),),
    external=_LATE,
)

NVIDIA_CDI_HOOK = Tool(
    name="nvidia-cdi-hook",
    version=NVIDIA_VERSION,
    module=_MODULES / "nvidia",
    package=f"{_NVIDIA}/cmd/nvidia-cdi-hook",
    symbols=((f"{_NVIDIA}/internal/info.version", NVIDIA_VERSION),),
    external=_LATE,
)

ALL = (ENGINE, DOCKER_PROVIDER, MINIO, NVIDIA_CTK, NVIDIA_CDI_HOOK)
