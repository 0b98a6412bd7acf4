"""Certificates and the CA are made anew while clients that trust the published bundle go on asking."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import httpx
import psycopg
import pytest

from infra import authority, presented
from infra.catalog.model import Zone
from tests import clients
from tests.clients import Visitor
from tests.conftest import Appliance, small

DATABASE = "maia_test_rotation"


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with small(tmp_path_factory.mktemp("authority") / "site") as made:
        made.maia("up", "--skip-checks")
        yield made


@dataclass
class Client:
    """Somebody outside, with the bundle as it was when it was last handed over."""

    third: Appliance
    visitor: Visitor
    port: int
    login: str
    password: str = field(repr=False)
    trusted: Path

    def take(self) -> None:
        """Reads the published bundle again."""
        shutil.copyfile(self.third.ca, self.trusted)

    def gateway(self) -> None:
        """A connection and a request of its own."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        assert httpx.get(f"{self.third.url}/healthz", verify=context, trust_env=False, timeout=30).text.strip() == "ok"

    def connect(self) -> psycopg.Connection[tuple[int]]:
        return psycopg.connect(
            host="postgres", hostaddr="127.0.0.1", port=self.port, dbname=DATABASE, user=self.login,
            password=self.password, sslmode="verify-full", sslrootcert=str(self.trusted), autocommit=True,
            connect_timeout=20,
        )  # fmt: skip

    def postgres(self) -> None:
        with self.connect() as link:
            assert link.execute("select 1").fetchone() == (1,)

    def shown(self) -> dict[str, str]:
        """What the servers present, to whoever asks without trusting anybody."""
        plan, containers = self.third.stack.plan, docker.from_env().containers
        found = {}
        for part in map(plan.container, ("gateway", "postgres")):
            pid = containers.get(part.name).attrs["State"]["Pid"]
            found[part.part] = presented.certificate(pid, part.ports[0], part.part)
        return found


@pytest.fixture(scope="module")
def client(third: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    bundle = tmp_path_factory.mktemp("outside") / "ca.crt"
    with (
        clients.database_login(third.stack, DATABASE) as (login, password),
        clients.visitor(third.stack, Zone.DATA) as visitor,
    ):
        with visitor.forwarded("postgres", 5432) as port:
            made = Client(third, visitor, port, login, password, bundle)
            made.take()
            yield made


@contextmanager
def asking(client: Client) -> Iterator[None]:
    """Asks all the while, each time by a new connection and once more over one that stays; nothing may fail."""
    failed: list[str] = []
    asked = {"gateway": 0, "postgres": 0, "session": 0}
    over = threading.Event()

    def keep(name: str, ask: Callable[[], object]) -> None:
        while not over.is_set():
            try:
                ask()
            except Exception as error:
                failed.append(f"{name}: {type(error).__name__}: {error}")
            asked[name] += 1
            over.wait(0.05)

    with client.connect() as session:
        asks = {"gateway": client.gateway, "postgres": client.postgres, "session": lambda: session.execute("select 1")}
        threads = [threading.Thread(target=keep, args=each) for each in asks.items()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert failed == []
    assert min(asked.values()) > 20, asked


def started(third: Appliance) -> dict[str, str]:
    """Part to the start of its process."""
    found = (docker.from_env().containers.get(part.name) for part in third.stack.plan.containers)
    return {str(each.name): each.attrs["State"]["StartedAt"] for each in found}


def others(client: Client, before: dict[str, str]) -> bool:
    return all(now != before[name] for name, now in client.shown().items())


def test_server_certificates_are_made_anew_and_no_request_fails(third: Appliance, client: Client) -> None:
    before, alive = client.shown(), started(third)
    with asking(client):
        third.maia("secrets", "rotate", "certificates")
    assert others(client, before)
    assert started(third) == alive, "a container was replaced"


def test_the_ca_is_rotated_in_two_steps_and_no_request_of_a_client_that_takes_the_bundle_between_them_fails(
    third: Appliance, client: Client, tmp_path: Path
) -> None:
    begun, alive, old = client.shown(), started(third), Path(third.ca).read_text()
    refused = third.maia("secrets", "rotate", "ca", "--finish", check=False)
    assert "no rotation is under way (maia secrets rotate ca" in refused.stderr
    with asking(client):
        said = third.maia("secrets", "rotate", "ca").stdout
    assert third.ca in said
    assert client.shown() == begun, "the old one signs on"
    both = Path(third.ca).read_text()
    assert both.startswith(old)
    assert both.count("BEGIN CERTIFICATE") == 2
    assert "a rotation of the CA is under way" in third.maia("doctor", check=False).stdout
    client.take()
    with asking(client):
        third.maia("secrets", "rotate", "ca", "--finish")
    assert others(client, begun)
    new = Path(third.ca).read_text()
    assert new == both.removeprefix(old)
    assert {path.read_text() for path in third.site.files(third.name).glob("*/config/ca.crt")} == {new}
    assert authority.NEXT not in third.stack.secret_names
    client.take()
    client.gateway()
    client.postgres()
    client.trusted.write_text(old)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.gateway()
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        client.postgres()
    client.take()
    assert started(third) == alive, "a container was replaced"
    assert json.loads(third.maia("status", "--json").stdout)["well"]
    assert "nothing to change" in third.maia("preview").stdout
    third.maia("check", "-k", "certificate or tls or refusals or deviations")
