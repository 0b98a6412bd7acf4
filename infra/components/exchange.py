"""The exchange of an app's container: its candidate stands in, and the gateway leads to that one alone meanwhile."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from infra import machine
from infra.catalog.model import Zone
from infra.place import HERE, Place
from infra.plan import Container as Planned
from infra.plan import Plan
from infra.plan.networks import candidate

GRACE = 10
"""Seconds that requests under way have to end, and a candidate after them."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Who stands in for whom, behind which gateway."""

    part: str
    candidate: str
    gateway: str
    """The gateway's container; empty where no route leads to the app."""
    port: str
    live_at: str
    candidate_at: str
    at: Place = field(default=HERE, repr=False)

    def data(self) -> dict[str, Any]:
        """What a resource keeps of it, without the place."""
        return {key: value for key, value in vars(self).items() if key != "at"}

    def divert(self) -> None:
        """Have the gateway open no connection to the live app, and wait for the end of those there are.

        Where its packet filter knows no refusal, nothing is lost but time: the candidate serves all the same.
        """
        refusal = f"ip daddr {self.live_at} tcp dport {self.port} ct state new reject with tcp reset"
        chain = f"inet gateway {self._chain}"
        if self._filter(
            f"add chain {chain} {{ type filter hook output priority filter - 1; policy accept; }}; "
            f"add rule {chain} {refusal}"
        ):
            self._await_quiet(self.live_at)

    def restore(self) -> None:
        """Have the gateway lead to the live app again."""
        self._filter(f"delete chain inet gateway {self._chain}")

    def retire(self) -> None:
        """The live app answers: the candidate ends what it is doing, and is gone."""
        if container := self._find(self.candidate):
            self.restore()
            self._await_quiet(self.candidate_at)
            container.stop(timeout=GRACE)
            container.remove(force=True)

    def remove(self) -> None:
        """No candidate is there afterwards, whatever it was doing."""
        if container := self._find(self.candidate):
            self.restore()
            with suppress(NotFound):
                container.remove(force=True)

    @property
    def _chain(self) -> str:
        return f"exchange-{self.part}"

    def _filter(self, commands: str) -> bool:
        """Change the gateway's packet filter; whether it could be done."""
        gateway = self._find(self.gateway) if self.gateway else None
        try:
            return gateway is not None and gateway.exec_run(["nft", commands], user="0:0").exit_code == 0
        except APIError:  # it does not run
            return False

    def _await_quiet(self, address: str) -> None:
        if gateway := self._find(self.gateway) if self.gateway else None:
            self.at.call(machine.await_quiet, gateway.attrs["State"]["Pid"], address, int(self.port), GRACE)

    def _find(self, name: str) -> Container | None:
        try:
            return self.at.docker().containers.get(name)
        except NotFound:
            return None


def of(plan: Plan, app: Planned, at: Place = HERE) -> Exchange | None:
    """The exchange of an app whose new versions are tried; none for any other part."""
    if not app.candidate_addresses:
        return None
    routed = plan.has("gateway") and any(route.part == app.part for route in plan.routes)
    return Exchange(
        part=app.part,
        candidate=candidate(app.name),
        gateway=plan.container("gateway").name if routed else "",
        port=str(app.ports[0]),
        live_at=app.addresses[Zone.APPS],
        candidate_at=app.candidate_addresses[Zone.APPS],
        at=at,
    )
