"""A role as its tests use it: carried out on a test host, or in a root file system in which nothing runs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import converge
from infra.converge import Kind
from infra.ssh import Server


def quiet(text: str) -> None:
    """For what reports progress."""


@dataclass(frozen=True)
class Target:
    """What a role is tried on."""

    on: Server | Path
    """A test host, or the folder of a root file system."""
    own: bool = False
    """Whether a test host has a kernel of its own."""

    @property
    def kind(self) -> Kind:
        if isinstance(self.on, Path):
            return "image"
        return "machine" if self.own else "container"

    def apply(self, role: str, check: bool = False, entry: str = "main", **variables: Any) -> list[str]:
        """The tasks that changed something, or would."""
        return converge.roles({role: variables}, quiet, on=self.on, kind=self.kind, check=check, entry=entry)

    def together(self, roles: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The tasks of several roles that changed something."""
        return converge.roles(roles, quiet, on=self.on, kind=self.kind)

    def sh(self, script: str) -> str:
        """What a shell of root says there; it must succeed."""
        if isinstance(self.on, Server):
            done = self.on.run("sudo", "sh", "-euc", script)
        else:
            done = subprocess.run(["chroot", self.on, "sh", "-euc", script], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
