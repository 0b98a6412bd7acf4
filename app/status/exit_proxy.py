"""What went through the exit proxy, from Squid's own counters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx

from app.status.plan import Plan


class Unreadable(Exception):
    """The exit proxy did not tell its counters."""


@dataclass(frozen=True, kw_only=True)
class Client:
    requests: int
    denied: int


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Since the proxy started."""

    sent: int
    """Bytes to the places outside, counted in whole KiB."""
    received: int
    clients: Mapping[str, Client] = field(default_factory=dict)
    """By address in the proxy's zone."""

    def by_part(self, plan: Plan, own: str) -> dict[str, Client]:
        """Clients by part (by address where it is no part's).

        Left out is what the appliance asks of the proxy itself: its health check, on loopback, and the reading
        of these counters by the part ``own``, of which only what was refused is told.
        """
        found = {}
        for address, client in self.clients.items():
            if ip_address(address).is_loopback:
                continue
            part = plan.client(address)
            if part == own:
                client = Client(requests=client.denied, denied=client.denied)
            if client.requests:
                found[part] = client
        return found


_TRAFFIC = re.compile(r"^server\.all\.kbytes_(in|out) = (\d+)$", re.MULTILINE)
_ADDRESS = re.compile(r"^Address: (\S+)$", re.MULTILINE)
_KIND = re.compile(r"^\s+(TCP_\w+?)\s+(\d+)\s+\d+%$", re.MULTILINE)


async def read(http: httpx.AsyncClient, url: str) -> Counters:
    """The proxy's counters.

    Raises:
        Unreadable: it does not answer, or not with counters.
    """
    try:
        counters = await http.get(f"{url.rstrip('/')}/squid-internal-mgr/counters")
        clients = await http.get(f"{url.rstrip('/')}/squid-internal-mgr/client_list")
    except httpx.HTTPError as error:
        raise Unreadable(f"{type(error).__name__} {error}".strip()) from None
    if counters.status_code != 200 or clients.status_code != 200:
        raise Unreadable(f"status {counters.status_code}, {clients.status_code}")
    return parse(counters.text, clients.text)


def parse(counters: str, clients: str) -> Counters:
    """Read the reports ``counters`` and ``client_list`` of Squid's cache manager.

    Raises:
        Unreadable: a counter is missing.
    """
    traffic = {direction: int(value) * 1024 for direction, value in _TRAFFIC.findall(counters)}
    if traffic.keys() != {"in", "out"}:
        raise Unreadable("no counters of traffic in the answer")
    _, *blocks = _ADDRESS.split(clients.partition("\nTOTALS")[0])
    found = {}
    for address, block in zip(blocks[::2], blocks[1::2], strict=True):
        kinds = {kind: int(count) for kind, count in _KIND.findall(block)}
        denied = sum(count for kind, count in kinds.items() if kind.startswith("TCP_DENIED"))
        found[address] = Client(requests=sum(kinds.values()), denied=denied)
    return Counters(sent=traffic["out"], received=traffic["in"], clients=found)
