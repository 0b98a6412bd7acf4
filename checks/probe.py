"""Tries connections from inside containers' network namespaces. Runs as root.

Standard library only: it is carried out on servers too (`infra.place`). An order is::

    {"seconds": 1.5,                  (for the question of an outside name)
     "listen": ["172.17.0.1", …],
     "from": {"redis": 4711, …, "machine": 0},
     "attempts": {"redis": [{"name": …, "kind": "tcp", "address": …, "port": …, "seconds": …,
                             "send": …, "until": …}, …], …}}

``listen`` names addresses of this machine on which it plays the outside for the time of the probe: one TCP and
one UDP listener each, which answer with a token that nobody else knows. An attempt with port 0 goes to them.
``send`` and ``until`` are hexadecimal: what to say, and what ends the answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

CLONE_NEWNET = 0x40000000
RESOLVER = ("127.0.0.11", 53)
LOOPBACK_RESOLVER = ("127.0.0.1", 53)

Attempt = dict[str, Any]
Address = tuple[str, int]


def enter(pid: int) -> None:
    """Move this process into the network namespace of ``pid``."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(handle)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Outside:
    """Listeners on this machine's own addresses that answer with a token."""

    def __init__(self, addresses: list[str]) -> None:
        self.token = secrets.token_hex(16).encode()
        self.ports: dict[tuple[str, str], int] = {}
        self._sockets: list[socket.socket] = []
        for address in addresses:
            for kind, type_ in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
                listener = socket.socket(family(address), type_)
                try:
                    listener.bind((address, 0))
                except OSError:  # a bridge of somebody else's that has gone meanwhile
                    listener.close()
                    continue
                if kind == "tcp":
                    listener.listen(256)
                listener.setblocking(False)
                self.ports[kind, address] = listener.getsockname()[1]
                self._sockets.append(listener)

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()

    def serve(self) -> None:
        """Answer until the process is ended."""
        with selectors.DefaultSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ, each)
            while True:
                for key, _ in selector.select():
                    listener: socket.socket = key.data
                    with contextlib.suppress(OSError):
                        if listener.type == socket.SOCK_STREAM:
                            connection, _peer = listener.accept()
                            with connection:
                                connection.sendall(self.token)
                        else:
                            _data, peer = listener.recvfrom(512)
                            listener.sendto(self.token, peer)


class Try:
    """One attempt under way: ``answer`` is what came back, ``outcome`` how it ended."""

    def __init__(self, attempt: Attempt) -> None:
        self.name: str = attempt["name"]
        self.outcome = "silent"
        self.answer = b""
        self._send = bytes.fromhex(attempt.get("send", ""))
        self._token = bytes.fromhex(attempt.get("token", ""))
        self._until = bytes.fromhex(attempt.get("until", "")) or self._token
        self._deadline = time.monotonic() + float(attempt["seconds"])
        self._udp = attempt["kind"] == "udp"
        self._talks = bool(self._send or self._token)
        self.socket = socket.socket(family(attempt["address"]), socket.SOCK_DGRAM if self._udp else socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.done = False
        try:
            self.socket.connect((attempt["address"], attempt["port"]))
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(errno.errorcode.get(error.errno or 0, "error"))

    @property
    def left(self) -> float:
        """Seconds it may still take."""
        return self._deadline - time.monotonic()

    @property
    def events(self) -> int:
        return selectors.EVENT_WRITE if self._udp or not self._talks or self._send else selectors.EVENT_READ

    def end(self, outcome: str) -> None:
        self.outcome, self.done = outcome, True
        self.socket.close()

    def step(self) -> None:
        try:
            if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.end(errno.errorcode.get(code, "error"))
            if self._udp or self._send:
                self.socket.send(self._send or b"?")
                self._udp, self._send = False, b""
                return None
            if not self._talks:
                return self.end("open")
            piece = self.socket.recv(4096)
            self.answer += piece
            if self._until and self._until in self.answer:
                return self.end("open")
            if not piece or len(self.answer) >= 4096:
                return self.end("other" if self._token else "open")
        except BlockingIOError:
            return None
        except OSError as error:
            return self.end(errno.errorcode.get(error.errno or 0, "error"))
        return None


def attempt_all(attempts: list[Attempt]) -> dict[str, dict[str, str]]:
    """All at once, until each has ended or its time is up."""
    tries = [Try(attempt) for attempt in attempts]
    with selectors.DefaultSelector() as selector:
        for each in tries:
            if not each.done:
                selector.register(each.socket, each.events, each)
        while waiting := [each for each in tries if not each.done]:
            for key, _ in selector.select(max(0.0, min(each.left for each in waiting))):
                each = key.data
                selector.unregister(key.fileobj)
                each.step()
                if not each.done:
                    selector.register(each.socket, each.events, each)
            for each in waiting:
                if not each.done and each.left <= 0:
                    selector.unregister(each.socket)
                    each.end("silent")
    return {each.name: {"outcome": each.outcome, "answer": each.answer.decode("latin-1")} for each in tries}


def question(name: str, number: int) -> bytes:
    """A DNS query for the address of ``name``."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def resolve_outside(seconds: float) -> str:
    """What the container's resolver does with an outside name.

    The name is of a reserved domain, and this process itself listens as the resolver on the container's own
    loopback: a query that arrives there went nowhere else. Any answer that did not come from here came from outside.
    """
    name = f"{secrets.token_hex(8)}.invalid"
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asker, own, selectors.DefaultSelector() as selector:
        listening = True
        try:
            own.bind(LOOPBACK_RESOLVER)
            selector.register(own, selectors.EVENT_READ)
        except OSError:
            listening = False
        selector.register(asker, selectors.EVENT_READ)
        deadline = time.monotonic() + seconds
        came_home = False
        try:
            asker.connect(RESOLVER)
            asker.send(question(name, 0x6D61))
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is own:
                        query, peer = own.recvfrom(512)
                        came_home = came_home or name.split(".")[0].encode() in query
                        # Refused, with the query's own number and question.
                        own.sendto(query[:2] + b"\x81\x85" + query[4:], peer)
                    else:
                        code = asker.recv(512)[3] & 15
                        return "own loopback" if came_home else {2: "SERVFAIL", 5: "REFUSED"}.get(code, f"rcode {code}")
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, "error")
        if came_home:
            return "own loopback"
        return "silent" if listening else "silent, loopback taken"


def fork(work: Callable[[], Any]) -> int:
    """Run ``work`` in a child; its JSON comes from the returned descriptor."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        code = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as stream:
                json.dump(work(), stream)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return reader


@contextlib.contextmanager
def playing(outside: Outside) -> Iterator[None]:
    """The listeners at work in a child, ended afterwards."""
    child = os.fork()
    if child == 0:
        try:
            outside.serve()
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)


def run(order: dict[str, Any]) -> dict[str, Any]:
    """What came of each attempt, by place."""
    outside = Outside(order["listen"])

    def work(place: str, pid: int) -> dict[str, Any]:
        if pid:
            enter(pid)
        attempts = []
        for attempt in order["attempts"].get(place, ()):
            if attempt["port"] == 0:
                if (port := outside.ports.get((attempt["kind"], attempt["address"]))) is None:
                    continue
                attempt = {**attempt, "port": port, "token": outside.token.hex()}
            attempts.append(attempt)
        found: dict[str, Any] = {"attempts": attempt_all(attempts)}
        if pid:
            found["resolver"] = resolve_outside(order["seconds"])
        return found

    answers: dict[str, Any] = {}
    with playing(outside):
        readers = {place: fork(partial(work, place, pid)) for place, pid in order["from"].items()}
        for place, reader in readers.items():
            with os.fdopen(reader) as stream:
                text = stream.read()
            answers[place] = json.loads(text) if text else {"attempts": {}, "resolver": "probe failed"}
    return answers
