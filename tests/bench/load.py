"""Keeps connections to a server busy for a while: ``python -m tests.bench.load``, an order on standard input.

A process of its own, so that it can stand in another network, and a plain one, so that it measures the server and not
itself: each connection sends its requests in turn, the next when the answer to the last is there.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request, with what its time is kept under."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    method: str = "POST"
    label: str = ""
    status: int = 200
    """Of the answer; another one is a failure."""
    follow: str = ""
    """A member of the answer that takes the place of the same member of the body."""


@dataclass(frozen=True)
class Order:
    """What is to be done: one list of requests for each connection."""

    host: str
    port: int
    clients: list[list[Request]]
    seconds: float
    ca: str = ""
    """Of the server's certificate; without it there is no TLS."""
    name: str = ""


@dataclass
class Times:
    """How long answers took, in seconds, by label; and what went wrong."""

    seconds: float = 0
    taken: dict[str, list[float]] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    """By status."""

    @property
    def all(self) -> list[float]:
        return sorted(each for times in self.taken.values() for each in times)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.all) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the answers came."""
        times = self.all
        return times[min(len(times) - 1, int(share * len(times)))]


class Connection(asyncio.Protocol):
    """Sends, waits, notes the time, and begins again until it is told to stop."""

    def __init__(self, order: Order, trusted: ssl.SSLContext | None, requests: Sequence[Request], times: Times) -> None:
        self._order = order
        self._trusted = trusted
        self._host = f"{order.name or order.host}:{order.port}"
        self._requests = list(requests)
        self._bodies = [dict(request.body or {}) for request in requests]
        self._times = times
        self._next = -1
        self._data = b""
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self._closes = False
        self._opening: asyncio.Task[None] | None = None
        self.stopping = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect, and begin."""
        await asyncio.get_running_loop().create_connection(
            lambda: self,
            self._order.host,
            self._order.port,
            ssl=self._trusted,
            server_hostname=self._order.name if self._trusted else None,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if self._closes:
            self._closes = False
            self._opening = asyncio.get_running_loop().create_task(self.open())
        else:
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        self._note(head[9:12].decode(), body)
        self._data = b""
        # As nginx does after a thousand requests.
        self._closes = b"connection: close" in head.lower()
        if self.stopping:
            self.ended.set_result(None)
        if self.stopping or self._closes:
            assert self._transport
            self._transport.close()
        else:
            self._send()

    def _note(self, status: str, body: bytes) -> None:
        request = self._requests[self._next]
        took = time.perf_counter() - self._began
        if status != str(request.status):
            self._times.wrong[status] = self._times.wrong.get(status, 0) + 1
            return
        self._times.taken.setdefault(request.label, []).append(took)
        if request.follow:
            self._bodies[self._next][request.follow] = json.loads(body)[request.follow]

    def _send(self) -> None:
        self._next = (self._next + 1) % len(self._requests)
        request = self._requests[self._next]
        body = json.dumps(self._bodies[self._next]).encode() if request.body is not None else b""
        headers = {"Host": self._host, **request.headers}
        if request.body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        assert self._transport
        self._began = time.perf_counter()
        self._transport.write(f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode() + body)


async def carry_out(order: Order) -> Times:
    """Every connection at work at once."""
    times = Times()
    trusted = ssl.create_default_context(cafile=order.ca) if order.ca else None
    made = [Connection(order, trusted, requests, times) for requests in order.clients]
    began = time.perf_counter()
    for connection in made:
        await connection.open()
    await asyncio.sleep(order.seconds)
    for connection in made:
        connection.stopping = True
    await asyncio.gather(*(connection.ended for connection in made))
    times.seconds = time.perf_counter() - began
    return times


def run(order: Order, network: int | None = None) -> Times:
    """Carried out by a process of its own.

    Args:
        network: a process whose network it shall stand in.

    Raises:
        SystemExit: it failed, or some request did.
    """
    inside = ["nsenter", "--target", str(network), "--net"] if network else []
    done = subprocess.run(
        [*inside, sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=order.seconds + 120,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found = Times(**json.loads(done.stdout))
    if found.wrong:
        raise SystemExit(f"requests failed, by status: {found.wrong}")
    return found


def main() -> None:
    told = json.load(sys.stdin)
    told["clients"] = [[Request(**request) for request in requests] for requests in told["clients"]]
    json.dump(asdict(asyncio.run(carry_out(Order(**told)))), sys.stdout)


if __name__ == "__main__":
    main()
