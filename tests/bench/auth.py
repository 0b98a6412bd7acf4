"""Takes the figures of ``docs/benchmarks-auth.md``: ``python -m tests.bench.auth``.

How quickly the auth service signs people in, knows them again and renews their sessions, each beside what bounds it, in
turns in the same run; and whether its answers tell by their time who has an account. It brings up a stack of its own in
a temporary site, beside whatever runs, and removes it again.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import docker
import jwt

from app.common.tokens import Verifier
from infra import atomic, catalog
from infra.catalog.model import Zone
from infra.site import REPO
from infra.stack import machine as size
from tests import clients
from tests.bench import auth_page, load, machine
from tests.bench.load import Order, Request, Times
from tests.bench.machine import middle
from tests.conftest import Appliance
from tests.system.auth import part
from tests.system.auth.service import PASSWORD, VERSION, Person, Service, Session, address

PAGE = REPO / "docs" / "benchmarks-auth.md"
COST = 12
CLIENTS = 16
WRONG = "not the password of anybody"
Say = Callable[[str], None]


@dataclass
class Found:
    """What was measured, by what it is about."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Things a second."""
    slow: dict[str, list[float]] = field(default_factory=dict)
    """Seconds within which 99 of 100 answers came."""
    guessed: dict[str, auth_page.Guess] = field(default_factory=dict)
    """How well the time of an answer tells whether somebody has an account."""
    workers: list[float] = field(default_factory=list)
    """MiB of each process of the service."""

    def take(self, what: str, times: Times) -> None:
        self.rates.setdefault(what, []).append(times.rate)
        self.slow.setdefault(what, []).append(times.quantile(0.99))

    def rate(self, what: str) -> float:
        return middle(self.rates[what])

    def late(self, what: str) -> float:
        """The 99th of 100 in milliseconds."""
        return 1000 * middle(self.slow[what])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.auth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    args = parser.parse_args()
    say, busy = machine.clock(), machine.load()

    rounds, seconds = (1, 3.0) if args.quick else (3, 10.0)
    with tempfile.TemporaryDirectory(prefix="maia-bench-") as folder, _stack(Path(folder) / "site", say) as stack:
        with part.on(stack, {"bcrypt_cost": COST, "limits": part.WIDE}) as service:
            found = _measure(stack, service, rounds, seconds, say)
    atomic.write(args.out, auth_page.write(found, rounds=rounds, load=busy, cost=COST, clients=CLIENTS), mode=0o644)
    say(f"written: {args.out}")


@contextmanager
def _stack(root: Path, say: Say) -> Any:
    """A stack with what the service needs and nothing else."""
    values = {
        "version": 1,
        "subnet": "10.88.0.0/20",
        "gateway": {"names": ["localhost"], "https": 38443, "http": 38080},
        "backup": {"at": None},
        "parts": {},
    }
    made = Appliance("bench", root, values)
    made.disable(*(known.name for known in catalog.SERVICES if known.name not in ("gateway", "postgres", "redis")))
    made.write()
    try:
        say("bringing a stack up")
        yield made
    finally:
        say("removing the stack")
        made.maia("destroy", "--yes", made.name)


def _measure(stack: Appliance, service: Service, rounds: int, seconds: float, say: Say) -> Found:
    found = Found()
    say(f"{CLIENTS} people")
    people = [service.person() for _ in range(CLIENTS)]
    sessions = [service.session(person) for person in people]
    with clients.visitor(stack.stack, Zone.APPS) as visitor:
        direct = At(service, stack.stack.plan.container("auth").addresses[Zone.APPS], 8000, visitor.container)
        gateway = At(service, "127.0.0.1", 38443)
        for number in range(rounds):
            say(f"passwords ({number + 1} of {rounds})")
            found.rates.setdefault("bare bcrypt", []).append(bare_hashes(seconds))
            found.take("sign-ins", direct.load([[signing_in(person)] for person in people], seconds))
            say(f"GET /user ({number + 1} of {rounds})")
            asking = [[Request("/user", bearer(one), method="GET")] for one in sessions]
            found.take("user", direct.load(asking, seconds))
            found.take("user by the gateway", gateway.load(asking, seconds))
            say(f"refreshes ({number + 1} of {rounds})")
            found.take("refreshes", direct.load([[renewing(service.session(one))] for one in people], seconds))
            say(f"tokens ({number + 1} of {rounds})")
            verified(service, sessions[0], seconds / 4, found)
        found.workers = workers(stack)
        for what, pair in telling(service).items():
            say(f"known or unknown: {what}")
            times = direct.load([pair], seconds * 2)
            found.guessed[what] = auth_page.Guess(times.taken["known"], times.taken["unknown"])
    return found


@dataclass(frozen=True)
class At:
    """Where the service is asked: itself from its own network, or through the gateway with TLS."""

    service: Service
    host: str
    port: int
    inside: Any = None

    def load(self, requests: list[list[Request]], seconds: float) -> Times:
        network = int(self.inside.attrs["State"]["Pid"]) if self.inside else None
        prefix = "" if self.inside else "/auth/v1"
        ca = "" if self.inside else self.service.ca or ""
        sent = [
            [Request(**{**vars(one), "path": prefix + one.path, "headers": self._headers(one.headers)}) for one in each]
            for each in requests
        ]
        return load.run(Order(self.host, self.port, sent, seconds, ca, "localhost"), network)

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**VERSION, "apikey": self.service.anon, **more}


def bearer(session: Session) -> dict[str, str]:
    return {"Authorization": f"Bearer {session.access}"}


def signing_in(person: Person) -> Request:
    return Request("/token?grant_type=password", {}, {"email": person.email, "password": person.password})


def renewing(session: Session) -> Request:
    """Each with the token that the one before it gave."""
    return Request("/token?grant_type=refresh_token", {}, {"refresh_token": session.refresh}, follow="refresh_token")


def bare_hashes(seconds: float) -> float:
    """Passwords that the machine checks in a second with nothing around them, on all processors."""
    cores = size().cpus
    known = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST))
    began = time.perf_counter()

    def check(_: int) -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            assert bcrypt.checkpw(PASSWORD.encode(), known)
            count += 1
        return count

    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(check, range(cores)))
    return done / (time.perf_counter() - began)


def verified(service: Service, session: Session, seconds: float, found: Found) -> None:
    """Tokens that another service checks in a second, and that the library alone does."""
    jwks = {key["kid"]: jwt.PyJWK(key, algorithm="ES256").key for key in _public(service)}
    (key,) = jwks.values()
    issuer, audience = service.base, "authenticated"
    verifier = Verifier(jwks, issuer=issuer, audience=audience)
    ways: dict[str, Callable[[], object]] = {
        "bare library": lambda: jwt.decode(session.access, key, algorithms=["ES256"], issuer=issuer, audience=audience),
        "app.common": lambda: verifier.verify(session.access),
    }
    for what, way in ways.items():
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            way()
            count += 1
        found.rates.setdefault(what, []).append(count / (time.perf_counter() - began))


def _public(service: Service) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = service.send("GET", "/.well-known/jwks.json", key=None).json()["keys"]
    return keys


def telling(service: Service) -> dict[str, list[Request]]:
    """Pairs of requests that differ in nothing but whether there is such an account, asked in turns."""
    known, unknown = service.person().email, address()
    asked: dict[str, tuple[str, dict[str, object], int]] = {
        "a wrong password": ("/token?grant_type=password", {"password": WRONG}, 400),
        "recovery": ("/recover", {}, 200),
        "a link to sign in by": ("/otp", {"create_user": False}, 200),
        "the mail again": ("/resend", {"type": "signup"}, 200),
        "a wrong code": ("/verify", {"type": "recovery", "token": "000000"}, 403),
    }
    return {
        what: [
            Request(path, {}, {"email": email, **body}, label=label, status=status)
            for label, email in (("known", known), ("unknown", unknown))
        ]
        for what, (path, body, status) in asked.items()
    }


def workers(stack: Appliance) -> list[float]:
    """MiB that each process of the service holds."""
    container = docker.from_env().containers.get(f"maia-{stack.name}-auth")
    pids = [int(line[1]) for line in container.top()["Processes"]]
    sizes = []
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        if resident := re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE):
            sizes.append(int(resident[1]) / 1024)
    return sizes


if __name__ == "__main__":
    main()
