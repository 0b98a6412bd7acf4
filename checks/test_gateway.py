"""The gateway: what its TLS accepts, what its answers carry, whom it turns away."""

from __future__ import annotations

import socket
import ssl
import warnings
from datetime import UTC, datetime, timedelta

import certifi
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from checks.facts import Facts, NotThere
from checks.plugin import Case, Expect, cases
from infra import atomic, presented, served
from infra.measurements import authority, session
from infra.place import Place
from infra.plan import GatewayRoute, Plan
from infra.site import Site

DAYS = 30
GRACE = timedelta(hours=1)
"""Until then a directory may not have answered."""
OLD = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}
NEW = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CHALLENGES = "/.well-known/acme-challenge"
HSTS = "Strict-Transport-Security"
HEADERS = (
    HSTS,
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "X-Frame-Options",
)
DEFAULTS = (("admin", "admin"), ("operator", "operator"), ("operator", "password"), ("admin", ""))


@cases(
    lambda plan: [
        Case(rule, c.part)
        for c in plan.containers
        if c.certificate
        for rule in ("issuer", "names", "days", "presented")
    ]
)
def test_certificate(case: Case, plan: Plan, site: Site, at: Place, home: Site, facts: Facts, expect: Expect) -> None:
    part = plan.container(case.part)
    found = x509.load_pem_x509_certificate(
        at.call(atomic.read, str(home.files(plan.stack) / part.part / "secrets" / "tls.crt")).encode()
    )
    if case.rule == "presented":
        if part.name not in facts.containers:
            raise NotThere(f"{part.part} does not run")
        shown = at.call(presented.certificate, facts.containers[part.name].pid, part.ports[0], part.certificate[0])
        return expect(_fingerprint(x509.load_pem_x509_certificate(shown.encode())), _fingerprint(found))
    if case.rule == "issuer":
        issuer = x509.load_pem_x509_certificate(authority(plan, site).read_bytes())
        try:
            found.verify_directly_issued_by(issuer)
        except Exception as error:
            return expect(f"{type(error).__name__}: {error}", "issued by the internal CA")
        return expect(True, True)
    if case.rule == "names":
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return expect({str(name.value) for name in names}, {*part.certificate, *(plan.names if part.published else ())})
    left = (found.not_valid_after_utc - datetime.now(UTC)).days
    return expect.that(left > DAYS, f"{left} days left", f"more than {DAYS}")


@cases(lambda plan: [Case("until", name) for name in plan.names] if _gateway(plan) else [])
def test_served(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    """Which certificate a visitor is shown, and until when: the directory's, where one is named."""
    try:
        shown = served.look(plan, case.part)
    except OSError as error:
        return expect(type(error).__name__, "a certificate")
    now = datetime.now(UTC)
    if plan.acme and shown.internal:
        started = facts.container(plan.container("acme").name).inspect["State"]["StartedAt"][:19]
        if now - datetime.fromisoformat(f"{started}+00:00") < GRACE:
            pytest.skip(f"{shown}: none has come from {plan.acme.directory} yet")
        return expect(str(shown), f"one from {plan.acme.directory}")
    # certbot renews with a third of its life left, or with half of a short one.
    least = timedelta(days=DAYS) if shown.internal else (shown.until - shown.since) / 4
    return expect.that(shown.until - now > least, str(shown), f"more than {least} left")


def _trusting(plan: Plan, site: Site) -> ssl.SSLContext:
    """The internal CA, and the roots by which the directory's certificates are trusted."""
    context = ssl.create_default_context(cafile=str(authority(plan, site)))
    if plan.acme:
        context.load_verify_locations(
            cafile=None if plan.acme.roots else certifi.where(), cadata=plan.acme.roots or None
        )
    return context


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _handshake(plan: Plan, site: Site, version: ssl.TLSVersion | None, name: str) -> str:
    """The protocol agreed on, or why there was none."""
    context = _trusting(plan, site)
    if version is not None:
        context.check_hostname = False
        # This machine's own policy must not stand in for the gateway's.
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
    address = served.address(plan)
    assert address
    try:
        with (
            socket.create_connection(address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as wrapped,
        ):
            return str(wrapped.version())
    except ssl.SSLError as error:
        return str(error.reason or error)
    except OSError as error:
        return type(error).__name__


def _gateway(plan: Plan) -> bool:
    return plan.has("gateway")


@cases(
    lambda plan: (
        [
            *(Case(f"{version}-refused") for version in OLD),
            *(Case(f"{version}-accepted") for version in NEW),
            *(Case("name", name) for name in plan.names),
        ]
        if _gateway(plan)
        else []
    )
)
def test_tls(case: Case, plan: Plan, site: Site, expect: Expect) -> None:
    if case.rule == "name":
        found = _handshake(plan, site, None, case.part)
        return expect.that(found.startswith("TLSv"), found, f"a certificate for {case.part} from a CA that is known")
    version, _, _ = case.rule.partition("-")
    found = _handshake(plan, site, (OLD | NEW)[version], plan.names[0])
    if version in NEW:
        return expect(found, f"TLSv{version}")
    if found == "NO_PROTOCOLS_AVAILABLE":
        pytest.skip(f"OpenSSL of this machine cannot speak TLS {version}")
    return expect.that(not found.startswith("TLSv"), found, "refused")


@cases(
    lambda plan: (
        [
            # For localhost, Strict-Transport-Security would force every other port of the owner's machine to TLS.
            *(Case("header", name) for name in HEADERS if name != HSTS or plan.names[0] != "localhost"),
            *(Case(rule) for rule in ("version-hidden", "unknown-host", "plain-on-tls", "plain-on-loopback")),
            *(Case("login-asked", route.part, route) for route in plan.routes if route.route.operator),
            *([Case("challenges-only")] if plan.acme else []),
            *([Case("default-credentials")] if any(route.route.operator for route in plan.routes) else []),
        ]
        if _gateway(plan)
        else []
    )
)
def test_gateway(case: Case, plan: Plan, site: Site, facts: Facts, expect: Expect) -> None:
    if case.rule == "plain-on-loopback":
        part = facts.container(plan.container("gateway").name)
        bindings = (part.inspect["NetworkSettings"]["Ports"] or {}).get("8080/tcp") or []
        return expect({each["HostIp"] for each in bindings} - {"127.0.0.1"}, set())
    client, base = session(plan, site)
    if case.rule == "header":
        return expect.that(bool(found := client.get(base, timeout=5).headers.get(case.part)), found, "present")
    if case.rule == "version-hidden":
        shown = client.get(base, timeout=5).headers.get("Server", "")
        return expect.that(not any(letter.isdigit() for letter in shown), shown, "no version")
    if case.rule == "unknown-host":
        answer = _status(client, f"{base}/", {"Host": "unknown.invalid"})
        return expect.that(answer in ("421", "closed"), answer, "421, or closed")
    if case.rule == "plain-on-tls":
        return expect(_status(client, base.replace("https:", "http:")), "400")
    if case.rule == "challenges-only":
        return expect(_plain(client, plan), {"/": "308", "/status/": "308", f"{CHALLENGES}/none": "404"})
    if case.rule == "login-asked":
        return expect(_status(client, _question(base, case.subject)), "401")
    guarded = next(route for route in plan.routes if route.route.operator)
    tried = {pair: _status(client, _question(base, guarded), auth=pair) for pair in DEFAULTS}
    return expect({f"{user}/{password}": status for (user, password), status in tried.items() if status != "401"}, {})


def _plain(client: requests.Session, plan: Plan) -> dict[str, str]:
    """What the port of the challenges answers."""
    address, port = served.address(plan, 8082) or ("", 0)
    return {
        path: _status(client, f"http://{address}:{port}{path}", {"Host": plan.names[0]})
        for path in ("/", "/status/", f"{CHALLENGES}/none")
    }


def _question(base: str, route: GatewayRoute) -> str:
    """Something that the part behind would answer."""
    return f"{base}{route.route.path}{'api/v1/query?query=up' if route.part == 'prometheus' else ''}"


def _status(
    client: requests.Session, url: str, headers: dict[str, str] | None = None, auth: tuple[str, str] | None = None
) -> str:
    try:
        return str(client.get(url, headers=headers, auth=auth, timeout=5, allow_redirects=False).status_code)
    except requests.ConnectionError:
        return "closed"


@cases(lambda plan: [Case("default-credentials")] if plan.has("grafana") and _gateway(plan) else [])
def test_grafana(case: Case, plan: Plan, site: Site, expect: Expect) -> None:
    client, base = session(plan, site)
    expect(_status(client, f"{base}/grafana/api/user", auth=("admin", "admin")), "401")
