"""One stack of the owner's: its file, its plan, its secrets' names. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from infra import atomic, catalog, config, owner, place, plan, ssh
from infra import machine as facts
from infra.config import Source
from infra.errors import MaiaError
from infra.images import store
from infra.images.recipe import load_all
from infra.place import HERE, Place, There
from infra.plan import Plan
from infra.releases import version
from infra.site import REPO, Site

UNKNOWN = plan.Machine(memory=2**20, cpus=2**8)
"""A server that was not asked: nothing is too large for it."""


def machine(at: Place = HERE) -> plan.Machine:
    """A machine's memory and processors."""
    memory, cpus = at.call(facts.size)
    return plan.Machine(memory=memory, cpus=cpus)


def image_refs(packages: str = "") -> dict[str, plan.ImageRef]:
    """The images that recipes amount to, with an empty id where one is not built."""
    users = {name: recipe.user for name, recipe in load_all().items()}
    return {
        line.name: plan.ImageRef(
            id=line.image.id if line.image else "",
            user=f"{users[line.name].uid}:{users[line.name].gid}",
            packages=store.packages(line.image) | {"maia": version()} if line.image else {},
        )
        for line in store.inventory(store.vendored(), packages)
    }


@dataclass(frozen=True)
class Stack:
    name: str
    site: Site
    ahead: bool = False
    """Whether its server is not to be asked anything: it may not be prepared yet, or be gone."""

    @property
    def file(self) -> Path:
        return self.site.stack_file(self.name)

    @property
    def example(self) -> Path:
        """What the stack starts from."""
        return REPO / "stacks" / f"Pulumi.{self.name}.yaml"

    def exists(self) -> bool:
        return self.file.exists()

    def start(self) -> None:
        """Put the owner's copy of the stack file into the site folder, once.

        Raises:
            MaiaError: there is neither a copy nor an example.
        """
        if self.exists():
            return
        if not self.example.exists():
            raise self._unknown()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(self.file, self.example.read_text())

    def _unknown(self) -> MaiaError:
        known = sorted(path.name.split(".")[1] for path in self.example.parent.glob("Pulumi.*.yaml"))
        mend = f"{config.nearest(self.name, known)}; a stack of your own begins with {self.file}"
        return MaiaError(f"unknown stack {self.name!r}", where="--stack", mend=mend)

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The ``config:`` mapping of the stack file, or of the example while there is no copy yet."""
        path = self.file if self.exists() else self.example
        try:
            document = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise self._unknown() from None
        except yaml.YAMLError as error:
            line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
            raise MaiaError(f"not YAML, line {line}", where=str(path), mend="correct the file") from None
        values = (document or {}).get("config") or {}
        if not isinstance(values, dict):
            raise MaiaError("config is not a mapping", where=str(path), mend="correct the file")
        return values

    @cached_property
    def config(self) -> config.Config:
        return config.parse(self.name, self.values)

    @property
    def sources(self) -> dict[str, Source]:
        """By key, every image that is not made here."""
        parts = {f"maia:parts.{name}": part for name, part in self.config.parts.items() if part.image or part.archive}
        return parts | {f"maia:apps.{name}": app for name, app in self.config.apps.items()}

    @cached_property
    def place(self) -> Place:
        """Where its containers run."""
        if not self.exists() and not self.example.exists():  # of which something may still be left here
            return HERE
        name, known = self.config.on, self.config.hosts
        if not name or name not in known:  # the plan refuses that by key
            return HERE
        return There(ssh.server(self.site, self.name, name, known[name]))

    @property
    def met(self) -> bool:
        """Whether the machine that its containers run on can be asked."""
        return not isinstance(self.place, There) or (self.place.server.known.exists() and not self.ahead)

    @property
    def home(self) -> Site:
        """Where its files lie on the machine that its containers run on."""
        return self.place.home(self.site, self.name)

    @property
    def postgres(self) -> str:
        """The folder here with a socket that leads to its Postgres, for the machine's root."""
        return place.postgres(self.place, str(self.home.sockets(self.name) / "postgres"))

    @cached_property
    def plan(self) -> Plan:
        return self.planned(self.config.packages)

    def planned(self, packages: str) -> Plan:
        """The plan with images of the packages of another moment."""
        at = self.place if self.met else HERE
        apps = {
            f"app:{name}": plan.ImageRef(id=owner.identity(f"maia:apps.{name}", app, at), user=app.user)
            for name, app in self.config.apps.items()
        }
        foreign = {
            service.image: plan.ImageRef(id=owner.identity(f"maia:parts.{service.name}", source, at), user=service.user)
            for service in catalog.SERVICES
            if (source := self.sources.get(f"maia:parts.{service.name}"))
        }
        return plan.build(
            self.name, self.config, machine(at) if self.met else UNKNOWN, image_refs(packages) | apps | foreign
        )

    @property
    def secret_names(self) -> set[str]:
        """Names of the secrets the stack file already holds."""
        return {key.removeprefix("secrets:") for key in self.values if key.startswith("secrets:")}
