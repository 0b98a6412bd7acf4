"""What a rule for a server is given: the plan, and the server as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.hosts import HostFacts
from infra.plan import Host, Plan

LEADS = ("goto", "jump")
Chain = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a rule is given."""

    plan: Plan
    host: Host
    facts: HostFacts

    @property
    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.facts.of("accounts")["users"]
        return found

    @property
    def published(self) -> set[tuple[str, int]]:
        """What the plan lets others speak to on this server."""
        here = self.plan.on == self.host.name
        ports = [port.port for c in self.plan.containers for port in c.published if here]
        return {("tcp", self.host.port), *(("tcp", port) for port in ports)}

    def chains(self, hook: str) -> list[Chain]:
        """Base chains of the packet filter at a hook."""
        found = (each.get("chain", {}) for each in self.facts.of("nft"))
        return [chain for chain in found if chain.get("hook") == hook and chain.get("type") == "filter"]

    def rules(self, hook: str) -> Iterator[list[dict[str, Any]]]:
        """The expressions of each rule of those chains, and of the chains that they lead to."""
        rules = [each["rule"] for each in self.facts.of("nft") if "rule" in each]
        chains = [(chain["family"], chain["table"], chain["name"]) for chain in self.chains(hook)]
        for family, table, name in chains:  # grows by those that are led to
            for rule in rules:
                if (rule["family"], rule["table"], rule["chain"]) == (family, table, name):
                    yield rule["expr"]
                    led = [
                        (family, table, each[word]["target"]) for each in rule["expr"] for word in LEADS if word in each
                    ]
                    chains += [chain for chain in led if chain not in chains]


Judge = Callable[[Seen], tuple[Any, Any]]
"""What is found, and what is wished."""
