"""What is tried from inside each container, computed from the plan, and what came of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from checks import probe as program
from checks.facts import Facts, NotThere
from infra.catalog.model import Zone
from infra.place import HERE, Place
from infra.plan import EXIT_PORT, EXIT_PROXY, Container, Plan

MACHINE = "machine"
"""The place that is no container: the machine itself."""
SECONDS = 1.5
"""Patience with what must not answer. All that is asked is on this machine, so an answer takes milliseconds."""
NOWHERE = "240.0.0.1"
"""A reserved address: no name to look up, and nobody's even where a proxy lets it through."""
LONG = 8.0
"""Patience with what must answer, on a busy machine."""

Flow = tuple[str, str, int]
"""From a part, to a part, to its port."""


@dataclass(frozen=True)
class Answer:
    outcome: str
    """``open``, ``other`` (somebody else answered), ``silent`` or an errno name."""
    text: str

    @property
    def reached(self) -> bool:
        return self.outcome in ("open", "other")


@dataclass(frozen=True)
class Probes:
    answers: dict[str, dict[str, Answer]]
    """By place, then by name of the attempt."""
    resolvers: dict[str, str]
    """By place: what became of a question for an outside name."""

    def of(self, place: str, prefix: str) -> dict[str, Answer]:
        """The answers whose names begin with ``prefix``, without it.

        Raises:
            NotThere: nothing was tried, because the container does not run.
        """
        if place not in self.answers:
            raise NotThere(f"{place} does not run")
        return {
            name.removeprefix(prefix): answer for name, answer in self.answers[place].items() if name.startswith(prefix)
        }

    def talk(self, name: str) -> Answer:
        """The one answer to an attempt that was made from one place only."""
        found = [answers[f"talk:{name}"] for answers in self.answers.values() if f"talk:{name}" in answers]
        if not found:
            raise NotThere(f"{name} could not be tried: its part does not run")
        return found[0]


def shared(one: Container, other: Container) -> list[str]:
    """Zones in which both are."""
    return [zone for zone in one.addresses if zone in other.addresses]


def flows(plan: Plan) -> set[Flow]:
    """Who must reach whom for the appliance to do its work."""
    found: set[Flow] = {("prometheus", target.part, target.scrape.port) for target in plan.targets}
    found |= {("gateway", route.part, route.route.port) for route in plan.routes}
    # A part may wait for another that it never talks to.
    found |= {
        (c.part, other, plan.container(other).ports[0])
        for c in plan.containers
        for other in c.after
        if shared(c, plan.container(other))
    }
    found |= {(grant.part, EXIT_PROXY, EXIT_PORT) for grant in plan.grants}
    return {flow for flow in found if flow[0] != flow[1] and plan.has(flow[0]) and plan.has(flow[1])}


def probe(plan: Plan, facts: Facts, sealing: bytes | None, at: Place = HERE) -> Probes:
    """Try everything at once, in one helper process where it runs.

    Args:
        sealing: a request to the S3 route, where there is one.
    """
    pids = {c.part: facts.containers[c.name].pid for c in plan.containers if c.name in facts.containers}
    order = {
        "seconds": SECONDS,
        "listen": list(facts.machine_addresses),
        "from": {part: pid for part, pid in pids.items() if pid} | {MACHINE: 0},
        "attempts": {
            **{
                c.part: [*_others(plan, c, _escapes(facts, c)), *_machine(facts), *_talks(plan, c, sealing)]
                for c in plan.containers
            },
            MACHINE: [*_machine(facts, LONG), *_published(plan)],
        },
    }
    found = at.apart(program.run, order)
    return Probes(
        answers={
            place: {name: Answer(each["outcome"], each["answer"]) for name, each in result["attempts"].items()}
            for place, result in found.items()
        },
        resolvers={place: result["resolver"] for place, result in found.items() if "resolver" in result},
    )


def _escapes(facts: Facts, part: Container) -> bool:
    """Whether what it sends to an address of nobody here would leave the machine."""
    fact = facts.containers.get(part.name)
    owned = set(fact.gateways) & set(facts.machine_addresses) if fact else set()
    return bool(owned) and Zone.EDGE not in part.addresses


def _others(plan: Plan, source: Container, escapes: bool) -> Iterator[dict[str, Any]]:
    """Every port of every other part. Out of a container with a way out, only where nothing leaves the machine."""
    needs = flows(plan)
    for other in plan.containers:
        if other is source:
            continue
        for zone, address in other.addresses.items():
            if escapes and zone not in source.addresses:
                continue
            for port in other.ports:
                # Of several zones that two parts share, a packet filter may leave one.
                must = (source.part, other.part, port) in needs and shared(source, other) == [zone]
                name = f"part:{other.part}:{port}@{zone}"
                yield _attempt(name, address, port, seconds=LONG if must else SECONDS)


def _machine(facts: Facts, seconds: float = SECONDS) -> Iterator[dict[str, Any]]:
    for address in facts.machine_addresses:
        yield _attempt(f"tcp:{address}", address, 0, seconds=seconds)
        yield _attempt(f"udp:{address}", address, 0, seconds=seconds, kind="udp")


def _published(plan: Plan) -> Iterator[dict[str, Any]]:
    for container in plan.containers:
        for port in container.published:
            address = "127.0.0.1" if port.address == "0.0.0.0" else port.address
            # Not a word of TLS: the gateway says so, while a forwarder with nobody behind it says nothing.
            yield _attempt(
                f"published:{port.address}:{port.port}", address, port.port, LONG, _http("GET", "/"), until=b"\r\n"
            )


def _attempt(
    name: str,
    address: str,
    port: int,
    seconds: float,
    send: bytes = b"",
    *,
    until: bytes = b"",
    kind: Literal["tcp", "udp"] = "tcp",
) -> dict[str, Any]:
    how = {"seconds": seconds, "send": send.hex(), "until": until.hex()}
    return {"name": name, "kind": kind, "address": address, "port": port, **how}


def _talks(plan: Plan, source: Container, sealing: bytes | None) -> Iterator[dict[str, Any]]:
    """Requests that the part behind must refuse, each from the first part that could make it."""
    if source.part == EXIT_PROXY:
        # From its own loopback: a refusal of a part is counted as that part's, and alerts.
        request = _connect(NOWHERE, 443)
        yield _attempt("talk:exit-ungranted", "127.0.0.1", EXIT_PORT, LONG, request, until=b"\r\n")
    for part, port, zone, requests, until in (
        ("postgres", 5432, Zone.DATA, {"postgres-plain": _postgres_startup("postgres")}, b""),
        ("redis", 6379, Zone.DATA, REDIS_REQUESTS, b"\r\n"),
        ("s3", 9000, Zone.DATA, S3_REQUESTS | ({"s3-sealing": sealing} if sealing else {}), b""),
    ):
        if plan.has(part) and source.part == _neighbour(plan, part, zone):
            for name, request in requests.items():
                yield _attempt(f"talk:{name}", plan.container(part).addresses[zone], port, LONG, request, until=until)


def _neighbour(plan: Plan, part: str, zone: Zone) -> str:
    """The first part beside ``part`` in ``zone``; itself where it is alone."""
    return next((c.part for c in plan.containers if c.part != part and zone in c.addresses), part)


def _postgres_startup(user: str) -> bytes:
    """The first message of a client that does not ask for TLS."""
    body = struct.pack(">I", 3 << 16) + f"user\0{user}\0database\0postgres\0\0".encode()
    return struct.pack(">I", len(body) + 4) + body


def _connect(host: str, port: int) -> bytes:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def _http(method: str, path: str, *headers: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: s3", "Connection: close", "Content-Length: 0", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


REDIS_REQUESTS = {"redis-unauthenticated": b"PING\r\n", "redis-default-credentials": b'AUTH default ""\r\n'}
S3_REQUESTS = {
    "s3-anonymous": _http("GET", "/"),
    "s3-admin-hidden": _http("GET", "/minio/admin/v3/info"),
    "s3-replication-query": _http("PUT", "/maia-check/x?X-Minio-Replication-Server-Side-Encryption-Iv=AAAA"),
}
