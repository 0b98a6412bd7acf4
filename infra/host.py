"""``maia:hosts``: the servers of a stack, by name. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from infra.fields import HostName, PortNumber, Strict

ServerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
AUTOMATION = "maia"
"""The user that the appliance logs in as once a host is its own."""


class Host(Strict):
    """One server."""

    address: HostName
    port: PortNumber = 22
    login: UserName = Field(default="root", description="Who lets us in at first: root, or a user with sudo.")
    kernel: Literal["own", "shared"] = Field(
        default="own", description="shared: a container; what its kernel has but once is left alone there."
    )
    roles: dict[str, dict[str, Any]] = Field(
        default={},
        description="Settings of its roles: NAME_word of roles/NAME/meta/argument_specs.yml is roles.NAME.word here.",
    )
