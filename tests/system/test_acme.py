"""Certificates from outside, of a real directory: obtained by the exit proxy, served, renewed, and done without."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import docker
import pytest
from cryptography import x509
from docker.models.containers import Container

import checks
from checks.evidence import Row
from infra import served
from infra.catalog.model import Zone
from infra.measurements import Measurements
from infra.plan import EXIT_PORT, EXIT_PROXY, Plan
from infra.site import REPO
from tests import clients
from tests.conftest import STORES, Appliance, small
from tests.directory import Directory, directory
from tests.system.mutations import World, edited, replacing, until

NAMES = ["maia.example.org", "app.example.org"]
CHALLENGES = 28081
ABSENT = (*STORES, "alertmanager", "node-exporter")
ALL = "not latency"
"""Every check but those that also measure what else this machine does."""
ISSUED = 180.0
"""Seconds from the client's start within which it must have a certificate."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return directory(tmp_path_factory.mktemp("directory"), CHALLENGES)


def asked(outside: Directory, roots: str = "") -> dict[str, object]:
    return {"directory": outside.url, "http": CHALLENGES, "key_id": outside.key_id, "roots": outside.ca + roots}


@pytest.fixture(scope="module")
def made(outside: Directory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack whose directory is not there yet."""
    with small(tmp_path_factory.mktemp("acme") / "site") as made:
        made.values["gateway"] |= {"names": NAMES, "acme": asked(outside)}
        made.values["parts"] = {name: {"enabled": False} for name in (*ABSENT, "status")}
        made.write()
        yield made


def set_secret(made: Appliance, name: str, value: str) -> str:
    done = subprocess.run(
        [REPO / "maia", "secrets", "set", name], env=made.environment, input=value, text=True, capture_output=True
    )
    return done.stdout + done.stderr


def rows(made: Appliance, keyword: str) -> dict[str, Row]:
    result = checks.run(made.stack, say=lambda _line: None, keyword=keyword)
    return {row.check: row for row in result.rows}


def container(made: Appliance, part: str) -> Container:
    return docker.from_env().containers.get(f"maia-{made.name}-{part}")


def issued(plan: Plan) -> bool:
    return not served.look(plan, NAMES[0]).internal


def test_the_key_of_the_account_is_asked_for_and_taken_from_standard_input(made: Appliance, outside: Directory) -> None:
    refused = made.maia("init", check=False)
    assert refused.returncode
    assert "secrets:acme-eab: only you can have its value (maia secrets set acme-eab)" in refused.stderr
    assert "no key in base64url" in set_secret(made, "acme-eab", "a key")
    assert "acme-eab is set" in set_secret(made, "acme-eab", outside.key)
    assert "not made here" in made.maia("secrets", "rotate", "acme-eab", check=False).stderr
    assert outside.key not in made.site.stack_file(made.name).read_text()


def test_without_its_directory_the_appliance_comes_up_with_the_internal_certificate_and_says_so(
    made: Appliance, outside: Directory
) -> None:
    said = made.maia("up", "--skip-checks").stdout
    shown = f"MAIA {made.name} internal CA, until "
    assert f"shows:   {shown}" in said
    until(lambda: f"no certificate from {outside.url}" in made.maia("status").stdout, "the client has said so")
    assert f"certificate: {shown}" in made.maia("status").stdout
    data = json.loads(made.maia("status", "--json").stdout)
    assert data["well"]
    assert f"no certificate from {outside.url}" in data["certificate"]
    assert outside.url in made.maia("doctor", check=False).stdout
    found = rows(made, ALL)
    assert "failed" not in {row.outcome for row in found.values()}
    for name in NAMES:
        row = found[f"served[{name}-until]"]
        assert (row.outcome, row.reason.partition(",")[0]) == ("skipped", f"MAIA {made.name} internal CA")


@pytest.fixture(scope="module")
def certified(made: Appliance, outside: Directory) -> Iterator[Appliance]:
    """The same stack with its directory there, and a certificate from it."""
    with outside.running() as root:
        made.write({"gateway": made.values["gateway"] | {"acme": asked(outside, root)}})
        made.maia("up", "--skip-checks")
        plan = made.stack.plan
        until(lambda: issued(plan), "a certificate is served", ISSUED)
        yield made


def test_a_certificate_is_obtained_through_the_exit_proxy_and_every_check_accepts_it(
    certified: Appliance, outside: Directory
) -> None:
    said = container(certified, EXIT_PROXY).logs().decode()
    assert f"CONNECT {outside.address}:{outside.port}" in said
    found = rows(certified, ALL)
    assert "failed" not in {row.outcome for row in found.values()}
    for name in NAMES:
        row = found[f"served[{name}-until]"]
        assert row.outcome == "passed"
        assert str(row.observed).startswith("Pebble Intermediate CA")
        assert found[f"tls[{name}-name]"].outcome == "passed"
    assert "certificate: Pebble Intermediate CA" in certified.maia("status").stdout
    assert "nothing to change" in certified.maia("preview").stdout


def test_its_client_is_let_out_to_the_directory_alone(certified: Appliance, outside: Directory) -> None:
    pid = int(container(certified, "acme").attrs["State"]["Pid"])
    proxy = certified.stack.plan.container(EXIT_PROXY).addresses[Zone.EXIT]

    def answer(place: str) -> str:
        with clients.connect(pid, proxy, EXIT_PORT) as link:
            link.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            return link.recv(100).decode().split(" ")[1]

    assert answer(f"{outside.address}:{outside.port}") == "200"
    for other in (f"{outside.address}:{outside.port + 1}", f"127.0.0.1:{outside.port}", "acme.example.org:443"):
        assert answer(other) == "403", other


def test_the_gateway_has_the_certificate_to_read_and_nothing_else_of_the_clients(certified: Appliance) -> None:
    gateway, client = container(certified, "gateway"), container(certified, "acme")
    user, _, group = str(client.attrs["Config"]["User"]).partition(":")
    assert client.exec_run(["find", "/srv/acme", "-name", "*.pem", "-printf", "%m %U:%G"]).output == (
        f"640 {user}:{group}".encode()
    )
    serving = certified.stack.plan.container("gateway").user
    assert gateway.exec_run(["touch", "/srv/acme/x"], user=f"{user}:{group}").exit_code != 0
    assert gateway.exec_run(["cat", "/srv/acme/gateway.pem"], user=serving).exit_code != 0, "only with its group"
    assert gateway.exec_run(["ls", "/data"]).exit_code != 0
    shown = json.dumps(client.attrs["Config"]) + client.logs().decode()
    assert "zWNDZM6e" not in shown


def ask(path: str, host: str = NAMES[0], method: str = "GET") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", CHALLENGES, timeout=clients.PATIENCE)) as link:
        link.putrequest(method, path, skip_host=True)
        link.putheader("Host", host)
        link.endheaders()
        got = link.getresponse()
        return got.status, got.headers.get("Location", "")


def test_the_port_of_the_challenges_answers_challenges_and_leads_everything_else_to_tls(certified: Appliance) -> None:
    client = container(certified, "acme")
    place = "/srv/acme/challenges/.well-known/acme-challenge"
    assert client.exec_run(["bash", "-c", f"umask 022; mkdir -p {place}; echo it > {place}/mine"]).exit_code == 0
    well_known = "/.well-known/acme-challenge"
    assert ask(f"{well_known}/mine")[0] == 200
    assert ask(f"{well_known}/mine", method="PUT")[0] == 403
    assert client.exec_run(["ln", "-sf", "/run/secrets/operators", f"{place}/theirs"]).exit_code == 0
    assert ask(f"{well_known}/theirs")[0] == 403
    assert ask(f"{well_known}/mine", host="other.example.org")[0] == 421
    origin = certified.stack.plan.origin.replace(NAMES[0], NAMES[1])
    for path in ("none", "../../../gateway.pem", "%2e%2e/%2e%2e/%2e%2e/gateway.pem", "..%2f..%2f..%2fgateway.pem"):
        assert ask(f"{well_known}/{path}")[0] in (308, 400, 404), path
    assert ask("/a?b=c", host=NAMES[1]) == (308, f"{origin}/a?b=c")
    client.exec_run(["rm", "-r", place])


def test_the_checks_notice_a_port_of_challenges_that_answers_more(certified: Appliance) -> None:
    loose = edited("gateway", "config/nginx.conf", replacing("return 308 ", "return 200; # "), "HUP")
    with loose(World(certified.stack, {})):
        found = rows(certified, "gateway and challenges")
    assert [row.outcome for row in found.values()] == ["failed"]


def test_what_expires_is_measured_on_the_certificate_from_outside(certified: Appliance) -> None:
    plan = certified.stack.plan
    measured = Measurements(plan, certified.site, certified.secret("operator"))
    end = served.look(plan, NAMES[0]).until.timestamp()

    def last() -> list[float]:
        return [float(each["value"][1]) for each in measured.query('probe_ssl_earliest_cert_expiry{part="gateway"}')]

    until(lambda: last() == [end], "the prober has met it")
    assert measured.probes()["gateway"] == "1"
    # The rules are asked at intervals of their own: one may have been pending.
    until(lambda: not measured.query('ALERTS{alertname=~"Certificate.*"}'), "no alert is about it")


@dataclass
class Visitor:
    """Asks again and again, each time on a new connection, trusting what the directory issues."""

    plan: Plan
    serials: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        assert self.plan.acme
        trusted = ssl.create_default_context(cadata=self.plan.acme.roots)
        host, port = served.address(self.plan) or ("", 0)
        while not self.done.is_set():
            try:
                with clients.tls(host, port, NAMES[0], trusted) as link:
                    shown = x509.load_der_x509_certificate(link.getpeercert(binary_form=True) or b"")
                    link.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAMES[0]}\r\nConnection: close\r\n\r\n".encode())
                    assert link.recv(100).startswith(b"HTTP/1.1 200 ")
                self.serials.append(shown.serial_number)
            except (OSError, AssertionError) as error:
                self.failures.append(f"{datetime.now(UTC)} {error!r}")


@contextmanager
def visiting(plan: Plan) -> Iterator[Visitor]:
    visitor = Visitor(plan)
    thread = threading.Thread(target=visitor.run)
    thread.start()
    try:
        yield visitor
    finally:
        visitor.done.set()
        thread.join()


def test_a_renewal_is_served_without_a_failed_request(certified: Appliance) -> None:
    client, plan = container(certified, "acme"), certified.stack.plan
    # Due by the client's own rule, which a person may set per certificate.
    due = "sed -i '1i renew_before_expiry = 3650 days' /data/*/renewal/gateway.conf"
    assert client.exec_run(["sh", "-c", due]).exit_code == 0
    with visiting(plan) as visitor:
        until(lambda: len(visitor.serials) > 5, "the visitor is at it")
        certified.maia("restart", "acme")
        until(lambda: len(set(visitor.serials)) > 1, "the new one is served", ISSUED)
        after = len(visitor.serials)
        until(lambda: len(visitor.serials) > after + 20, "and goes on being served")
    assert not visitor.failures
    assert len(set(visitor.serials)) == 2
    assert issued(plan)


def test_what_cannot_be_served_is_left_and_what_is_gone_is_replaced_by_the_internal_certificate(
    certified: Appliance,
) -> None:
    client, plan = container(certified, "acme"), certified.stack.plan
    shown = served.look(plan, NAMES[0])

    def run(script: str) -> None:
        assert client.exec_run(["bash", "-c", f"cd /srv/acme; {script}"]).exit_code == 0

    def noticed(words: str) -> Callable[[], bool]:
        return lambda: words in container(certified, "gateway").logs().decode()

    run("cp gateway.pem kept; echo broken > gateway.pem")
    until(noticed("cannot be served; what was served before stays"), "the gateway has looked at it")
    assert served.look(plan, NAMES[0]) == shown
    run("rm gateway.pem")
    until(lambda: served.look(plan, NAMES[0]).internal, "the internal one is served")
    run("mv kept gateway.pem")
    until(lambda: served.look(plan, NAMES[0]) == shown, "the outside one is served again")
