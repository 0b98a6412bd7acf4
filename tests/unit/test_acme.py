"""Certificates from outside: what the stack file may ask for, and what follows from it in the plan and the files."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from checks.facts import ContainerFact, Facts
from checks.plugin import Case, Expect
from checks.test_gateway import test_served as served_until
from infra import config, initialise, render
from infra.catalog.model import Zone
from infra.components import certificate
from infra.errors import MaiaError
from infra.plan import Plan, build
from tests.unit.conftest import MACHINE

Planned = Callable[..., Plan]

DIRECTORY = "https://acme.example.org/directory"
ROOTS, _ = certificate.authority("private")
KEY = "a-key-that-only-the-directory-made"


def stack(names: list[str] | None = None, **acme: Any) -> dict[str, Any]:
    return {"gateway": {"names": names or ["maia.example.org"], "acme": {"directory": DIRECTORY, **acme}}}


def text(plan: Plan, part: str, path: str) -> str:
    container = plan.container(part)
    file = next(file for file in container.files if file.path == path)
    return render.render(file, plan, container, {"acme-eab": KEY, "operator": "x"})


@pytest.mark.parametrize(
    ("acme", "says"),
    [
        ({"directory": "http://acme.example.org/directory"}, "expected an https address, found 'http://acme"),
        ({"directory": "acme.example.org"}, "expected an address such as https://"),
        ({"directory": "https://"}, "expected an address such as https://"),
        ({"directory": "https://acme.example.org:port/"}, "expected an address such as https://"),
        ({"directory": "https://acme.example.org:99999/"}, "expected an address such as https://"),
        ({"directory": "https://me:secret@acme.example.org/"}, "expected an https address"),
        ({"directory": "https://acme.example.org/a b"}, "expected an https address"),
        ({"directory": "https://acme.example.org/\nserver = x"}, "expected an https address"),
        ({"email": "nobody"}, "found 'nobody'"),
        ({"email": "a@b.example\nserver = x"}, "found"),
        ({"http": "80"}, "found '80'"),
        ({"key_id": "two words"}, "found 'two words'"),
        ({"roots": "none"}, "expected certificates in PEM"),
        ({"mail": "a@b.example"}, "did you mean 'email'?"),
    ],
)
def test_what_no_directory_could_be_asked_is_refused_by_key(acme: dict[str, Any], says: str) -> None:
    with pytest.raises(MaiaError) as refused:
        config.parse("local", {f"maia:{key}": value for key, value in stack(**acme).items()})
    assert refused.value.where == f"maia:gateway.acme.{next(iter(acme))}"
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("localhost", "acme issues for full names"),
        ("maia", "acme issues for full names"),
        ("maia.localhost", "acme issues for full names"),
        ("192.0.2.7", "192.0.2.7 is an address"),
        ("maia.internal", "no public directory issues for maia.internal"),
        ("maia.local", "no public directory issues for maia.local"),
        ("maia.home.arpa", "no public directory issues for maia.home.arpa"),
    ],
)
def test_names_that_cannot_be_issued_are_refused(name: str, says: str) -> None:
    with pytest.raises(MaiaError) as refused:
        config.parse("local", {"maia:gateway": stack(["maia.example.org", name])["gateway"]})
    assert refused.value.where == "maia:gateway"
    assert says in str(refused.value)


def test_a_private_directory_may_issue_for_names_of_a_private_network(planned: Planned) -> None:
    assert planned(stack(["maia.internal"], roots=ROOTS)).acme is not None


def test_without_it_there_is_no_client_no_port_and_no_way_out(planned: Planned) -> None:
    plan = planned()
    assert plan.acme is None
    assert not plan.has("acme")
    assert "acme" not in {absent.part for absent in plan.absent}
    assert [port.target for port in plan.container("gateway").published] == [8443]
    assert plan.grants == ()
    assert "acme" not in text(plan, "gateway", "/etc/maia/nginx.conf")


@pytest.mark.parametrize(
    ("directory", "endpoint"),
    [
        (DIRECTORY, "acme.example.org:443"),
        ("https://ca.example.org:14000/dir", "ca.example.org:14000"),
        ("https://10.1.2.3/acme/acme/directory", "10.1.2.3:443"),
    ],
)
def test_its_client_may_reach_its_directory_through_the_exit_proxy_and_nothing_else(
    planned: Planned, directory: str, endpoint: str
) -> None:
    plan = planned(stack(directory=directory))
    assert [(grant.part, str(grant.endpoint)) for grant in plan.grants] == [("acme", endpoint)]
    client = plan.container("acme")
    assert set(client.addresses) == {Zone.EXIT}
    assert client.env["HTTPS_PROXY"] == "http://exit:3128"
    squid = text(plan, "exit", "/etc/maia/squid.conf")
    host, _, port = endpoint.partition(":")
    assert [line for line in squid.splitlines() if line.startswith(("acl host_", "acl port_"))] == [
        f"acl host_1 dstdomain -n {host}",
        f"acl port_1 port {port}",
    ]


def test_another_place_is_the_owners_to_open(planned: Planned) -> None:
    plan = planned(stack() | {"egress": {"acme": ["ocsp.example.org:80"]}})
    assert [str(grant.endpoint) for grant in plan.grants] == ["acme.example.org:443", "ocsp.example.org:80"]


def test_the_client_has_no_privilege_and_no_port(planned: Planned) -> None:
    client = planned(stack()).container("acme")
    assert not client.root
    assert not client.capabilities
    assert not client.deviations
    assert not client.ports
    assert not client.published


def test_the_gateway_reads_what_was_issued_and_never_the_clients_own_volume(planned: Planned) -> None:
    plan = planned(stack())
    client, gateway = plan.container("acme").mounts, plan.container("gateway").mounts
    assert {mount.volume for mount in client} == {"maia-local-acme-data", "maia-local-acme-issued"}
    assert [(mount.volume, mount.part) for mount in gateway] == [("maia-local-acme-issued", "acme")]


def test_the_challenges_are_met_where_the_gateway_listens_on_a_port_of_their_own(planned: Planned) -> None:
    values = stack(http=8081)
    values["gateway"] |= {"address": "0.0.0.0", "https": 443}
    plan = planned(values)
    assert [(p.address, p.port, p.target) for p in plan.container("gateway").published] == [
        ("0.0.0.0", 443, 8443),
        ("0.0.0.0", 8081, 8082),
    ]
    assert "tcp dport { 8443, 8082 }" in text(plan, "gateway", "/etc/maia/firewall.nft")
    conf = text(plan, "gateway", "/etc/maia/nginx.conf")
    plain = conf[conf.index("listen 8082;") :]
    assert "return 308 https://$host$request_uri;" in plain[: plain.index("\n  }\n")]
    assert "proxy_pass" not in plain[: plain.index("\n  }\n")]


def test_a_port_that_is_taken_twice_is_refused(planned: Planned) -> None:
    values = stack(http=8443)
    with pytest.raises(MaiaError, match=r"maia:gateway.acme.http: port 8443 is also maia:gateway.https"):
        planned(values)


def test_the_client_cannot_be_left_out_while_it_is_asked_for(planned: Planned) -> None:
    with pytest.raises(MaiaError, match=r"maia:parts.acme.enabled"):
        planned(stack() | {"parts": {"acme": {"enabled": False}}})


def test_the_key_of_an_account_is_in_a_secret_file_alone(planned: Planned) -> None:
    plan = planned(stack(key_id="kid-1", email="ops@example.org"))
    assert plan.container("acme").secrets == ("acme-eab",)
    assert [name for name in plan.secrets if initialise.given(name)] == ["acme-eab"]
    told = text(plan, "acme", "/run/secrets/certbot.ini").splitlines()
    assert {f"eab-hmac-key = {KEY}", "eab-kid = kid-1", "email = ops@example.org"} <= set(told)
    assert f"server = {DIRECTORY}" in told
    without = planned(stack())
    assert not without.container("acme").secrets
    assert "eab" not in text(without, "acme", "/run/secrets/certbot.ini")


def test_a_directory_has_a_folder_of_its_own_so_that_another_one_begins_anew(planned: Planned) -> None:
    def folder(plan: Plan) -> str:
        lines = text(plan, "acme", "/run/secrets/certbot.ini").splitlines()
        return next(line for line in lines if line.startswith("config-dir = "))

    assert folder(planned(stack())) != folder(planned(stack(directory="https://other.example.org/")))


def test_a_private_directory_is_trusted_by_its_own_roots_alone(planned: Planned) -> None:
    plan = planned(stack(roots=f"a note\n{ROOTS}"))
    for part in ("acme", "blackbox-exporter"):
        assert text(plan, part, "/etc/maia/roots.pem") == ROOTS
    assert plan.container("acme").env["REQUESTS_CA_BUNDLE"] == "/etc/maia/roots.pem"
    assert plan.container("blackbox-exporter").env["SSL_CERT_FILE"] == "/etc/maia/roots.pem"
    public = planned(stack())
    assert "REQUESTS_CA_BUNDLE" not in public.container("acme").env
    assert "SSL_CERT_FILE" not in public.container("blackbox-exporter").env


def test_the_prober_trusts_the_internal_certificate_too(planned: Planned) -> None:
    plan = planned(stack())
    assert plan.container("blackbox-exporter").env["SSL_CERT_DIR"] == "/etc/maia"
    assert "ca_file" not in text(plan, "blackbox-exporter", "/etc/maia/blackbox.yml")


def test_parts_meet_the_internal_certificate_whatever_visitors_are_shown(planned: Planned) -> None:
    conf = text(planned(stack()), "gateway", "/etc/maia/nginx.conf")
    own = conf[conf.index("server_name gateway;") :]
    assert "ssl_certificate /run/secrets/tls.crt;" in own[: own.index("location")]


@pytest.fixture
def internal(tmp_path: Path) -> Iterator[int]:
    """A port on loopback that shows a certificate of the internal CA, as the gateway does."""
    pem = tmp_path / "served.pem"
    pem.write_text("".join(certificate.issue(["maia.example.org"], *certificate.authority("local"))))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with plain, suppress(OSError):
                        context.wrap_socket(plain, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def shown(plan: Plan, hours: float) -> Expect:
    """What the check finds, the client having run for so long."""
    started = f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%S.%fZ}"
    fact = ContainerFact({"State": {"StartedAt": started}}, {})
    facts = Facts(dict.fromkeys((c.name for c in plan.containers), fact), {}, (), frozenset(), "")
    served_until(Case("until", plan.names[0]), plan, facts, expect := Expect())
    return expect


def test_the_internal_certificate_is_what_is_expected_where_no_directory_is_named(
    planned: Planned, internal: int
) -> None:
    plan = planned({"gateway": {"names": ["maia.example.org"], "https": internal}})
    assert shown(plan, 9).observed.startswith("MAIA local internal CA, until ")


def test_the_internal_certificate_is_told_for_an_hour_and_then_a_failure_where_one_is(
    planned: Planned, internal: int
) -> None:
    values = stack()
    values["gateway"]["https"] = internal
    plan = planned(values)
    with pytest.raises(pytest.skip.Exception, match=f"MAIA local internal CA, until .*none has come from {DIRECTORY}"):
        shown(plan, 0.9)
    with pytest.raises(pytest.fail.Exception, match=f"expected one from {DIRECTORY}"):
        shown(plan, 1.1)


@pytest.mark.parametrize(("part", "script"), [("acme", "renew.sh"), ("gateway", "serve.sh"), ("gateway", "start.sh")])
def test_its_scripts_are_clean_shell(planned: Planned, part: str, script: str) -> None:
    checked = subprocess.run(
        ["shellcheck", "-"],
        input=text(planned(stack()), part, f"/etc/maia/{script}"),
        text=True,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_a_stack_with_a_certificate_from_outside_is_what_it_was(
    golden: Callable[[str, str], None], made: Callable[..., Any]
) -> None:
    values = stack(email="ops@example.org", key_id="kid-1", roots=ROOTS)
    parsed = config.parse("local", {f"maia:{key}": value for key, value in values.items()})
    plan = build("local", parsed, MACHINE, made())
    golden("plan-acme.json", plan.json().replace(ROOTS.replace("\n", "\\n"), "PEM") + "\n")
    order = list(TopologicalSorter({each.part: each.after for each in plan.containers}).static_order())
    assert order.index("gateway") < order.index("acme"), "whose volume it reads"
