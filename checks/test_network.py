"""Networks, ports, zones and the way out are as planned, seen from inside every container."""

from __future__ import annotations

import json
from typing import Any

from checks.facts import Facts
from checks.plugin import Case, Expect, cases, for_parts
from checks.probing import MACHINE, Probes, flows, shared
from infra.catalog.model import Zone
from infra.place import Place
from infra.plan import Container, Network, Plan

OPTION = "com.docker.network.bridge"
HARMLESS = [({"meta": {"key": "oif"}}, "lo"), ({"ct": {"key": "state"}}, ["established", "related"])]
"""What every output chain may let out."""
REFUSED_NAMES = ("own loopback", "SERVFAIL", "REFUSED", "ECONNREFUSED", "silent")
"""Ends of a question for an outside name that left the container for nowhere."""


@cases(lambda plan: [Case(rule, str(network.zone)) for network in plan.networks for rule in ("exact", "members")])
def test_networks(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    network = plan.network(Zone(case.part))
    if (found := facts.networks.get(network.name)) is None:
        return expect("absent", "present")
    if case.rule == "exact":
        options = found["Options"] or {}
        return expect(
            {
                "internal": found["Internal"],
                "subnets": [config["Subnet"] for config in found["IPAM"]["Config"]],
                "masquerade": options.get(f"{OPTION}.enable_ip_masquerade", "true") == "true",
                "machine address": options.get(f"{OPTION}.inhibit_ipv4", "false") == "false",
                "ipv6": found["EnableIPv6"],
            },
            {
                "internal": network.internal,
                "subnets": [network.subnet],
                "masquerade": network.masquerade,
                "machine address": network.machine_address,
                "ipv6": False,
            },
        )
    members = {each["Name"]: each["IPv4Address"].partition("/")[0] for each in found["Containers"].values()}
    return expect(members, _members(plan, network))


def _members(plan: Plan, network: Network) -> dict[str, str]:
    return {c.name: c.addresses[network.zone] for c in plan.containers if network.zone in c.addresses}


@cases(for_parts(["networks", "published"]))
def test_attached(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    part = plan.container(case.part)
    settings = facts.container(part.name).inspect["NetworkSettings"]
    if case.rule == "networks":
        planned = {plan.network(Zone(zone)).name: address for zone, address in part.addresses.items()}
        return expect({name: each["IPAddress"] for name, each in settings["Networks"].items()}, planned)
    found = {
        (binding["HostIp"], int(binding["HostPort"]), target)
        for target, bindings in (settings["Ports"] or {}).items()
        for binding in bindings or ()
    }
    return expect(found, {(port.address, port.port, f"{port.target}/tcp") for port in part.published})


@cases(lambda plan: [Case("exact"), Case("answer")])
def test_ports(case: Case, plan: Plan, facts: Facts, probes: Probes, expect: Expect) -> None:
    """What listens on this machine for the stack, and that it answers."""
    planned = {(port.address, port.port) for container in plan.containers for port in container.published}
    if case.rule == "exact":
        # With the engine's userland proxy off there are none, and the packet filter does their work.
        return expect.that(facts.forwarders in (planned, set()), facts.forwarders, planned)
    found = probes.of(MACHINE, "published:")
    return expect(
        {name: answer.text.startswith("HTTP/1.1 ") for name, answer in found.items()}, dict.fromkeys(found, True)
    )


@cases(for_parts(["separate", "reaches"]))
def test_zones(case: Case, plan: Plan, probes: Probes, expect: Expect) -> None:
    """A part reaches those it needs, and none with which it shares no zone."""
    part = plan.container(case.part)
    open_ = {name for name, answer in probes.of(part.part, "part:").items() if answer.reached}
    if case.rule == "separate":
        strangers = [other.part for other in plan.containers if other is not part and not shared(part, other)]
        return expect(sorted(name for name in open_ if name.partition(":")[0] in strangers), [])
    needed = {f"{to}:{port}" for source, to, port in flows(plan) if source == part.part}
    return expect(sorted(needed - {name.partition("@")[0] for name in open_}), [])


@cases(lambda plan: [Case("minio-by-s3-only")] if plan.has("minio") else [])
def test_store_zone(case: Case, plan: Plan, probes: Probes, expect: Expect) -> None:
    reach = {
        part for part in probes.answers if any(answer.reached for answer in probes.of(part, "part:minio:").values())
    }
    expect(reach, {"s3"})


def _closed(plan: Plan) -> list[Container]:
    """The containers out of which nothing may go: all but the exit proxy while a person has opened it."""
    return [container for container in plan.containers if Zone.OUTSIDE not in container.addresses]


@cases(
    lambda plan: [
        Case("machine-control"),
        *(Case(rule, c.part) for c in _closed(plan) for rule in ("tcp", "udp", "dns", "resolver", "route")),
    ]
)
def test_egress(case: Case, plan: Plan, facts: Facts, probes: Probes, expect: Expect) -> None:
    """The outside is played by listeners on every address of this machine: none may be met from a container."""
    if case.rule == "machine-control":
        found = {**probes.of(MACHINE, "tcp:"), **{f"{at}/udp": each for at, each in probes.of(MACHINE, "udp:").items()}}
        return expect({at: answer.outcome for at, answer in found.items()}, dict.fromkeys(found, "open"))
    part = plan.container(case.part)
    fact = facts.container(part.name)
    if case.rule in ("tcp", "udp"):
        return expect(sorted(at for at, answer in probes.of(part.part, f"{case.rule}:").items() if answer.reached), [])
    if case.rule == "dns":
        found_end = probes.resolvers.get(part.part, "not tried")
        return expect.that(found_end in REFUSED_NAMES, found_end, f"one of {', '.join(REFUSED_NAMES)}")
    if case.rule == "resolver":
        return expect((fact.resolvers, tuple(fact.host["Dns"] or ())), (("127.0.0.11",), part.dns))
    # Docker sets a default route on internal networks too; there it must lead to an address that nobody has.
    owned = set(fact.gateways) & set(facts.machine_addresses)
    return expect(len(owned), 1 if Zone.EDGE in part.addresses else 0)


@cases(lambda plan: [Case("ungranted-refused")] if plan.has("exit") else [])
def test_exit(case: Case, probes: Probes, expect: Expect) -> None:
    answer = probes.talk("exit-ungranted").text
    expect(answer.partition("\r\n")[0].split(" ")[1:2], ["403"])


@cases(lambda plan: [Case("filter", c.part) for c in plan.containers if Zone.EDGE in c.addresses])
def test_gateway_filter(case: Case, plan: Plan, at: Place, facts: Facts, probes: Probes, expect: Expect) -> None:
    """The gateway's own packet filter opens the way to the parts of its routes, and has dropped what was just tried."""
    assert probes.answers
    client = at.docker()
    name = facts.container(plan.container(case.part).name).inspect["Id"]
    asked = client.api.exec_create(name, ["nft", "--json", "list", "table", "inet", "gateway"], user="0:0")
    entries = json.loads(client.api.exec_start(asked["Id"]))["nftables"]
    chains = {entry["chain"]["name"]: entry["chain"].get("policy") for entry in entries if "chain" in entry}
    refused = next((e["counter"]["packets"] for e in entries if e.get("counter", {}).get("name") == "refused-out"), 0)
    opened = {way for entry in entries if (way := _opens(entry.get("rule", {})))}
    planned = {
        f"{address} {route.route.port}"
        for route in plan.routes
        for part in (plan.container(route.part),)
        for address in (*part.addresses.values(), *part.candidate_addresses.values())
    }
    expect(
        {"policies": chains, "beyond the routes": sorted(opened - planned), "has refused": refused > 0},
        {
            "policies": dict.fromkeys(("input", "forward", "output"), "drop"),
            "beyond the routes": [],
            "has refused": True,
        },
    )


def _opens(rule: dict[str, Any]) -> str:
    """What an accepting rule of the output chain lets out; empty for loopback, answers and other rules."""
    if rule.get("chain") != "output" or not any("accept" in part for part in rule["expr"]):
        return ""
    says = [(part["match"]["left"], part["match"]["right"]) for part in rule["expr"] if "match" in part]
    if len(says) == 1 and says[0] in HARMLESS:
        return ""
    return " ".join(str(right) for left, right in says if "payload" in left) or "anything"
