"""Which certificate the gateway serves, as a visitor meets it. Reads only."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from infra.plan import Plan

if TYPE_CHECKING:
    import docker

SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Served:
    issuer: str
    since: datetime
    until: datetime
    internal: bool
    """Whether the stack's own CA has issued it."""

    def __str__(self) -> str:
        return f"{self.issuer}, until {self.until:%Y-%m-%d %H:%M} UTC"


def address(plan: Plan, target: int = 8443) -> tuple[str, int] | None:
    """Where a listener of the gateway is met from here; None where it has none."""
    loopback = next((host.address for host in plan.hosts if host.name == plan.on), "127.0.0.1")
    for port in plan.container("gateway").published:
        if port.target == target:
            return (loopback if port.address == "0.0.0.0" else port.address), port.port
    return None


def look(plan: Plan, name: str) -> Served:
    """What a visitor of ``name`` is shown; whether it is to be trusted is another question.

    Raises:
        OSError: there is no answer, or none in TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address(plan) or ("", 0), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as link,
    ):
        shown = x509.load_der_x509_certificate(link.getpeercert(binary_form=True) or b"")
    named = shown.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    issuer = str(named[0].value) if named else shown.issuer.rfc4514_string()
    return Served(
        issuer=issuer,
        since=shown.not_valid_before_utc,
        until=shown.not_valid_after_utc,
        internal=issuer == f"MAIA {plan.stack} internal CA",
    )


def told(plan: Plan, client: docker.DockerClient) -> str:
    """One line on the certificate, with what the ACME client has last said; empty without one."""
    if not plan.acme or not plan.running:
        return ""
    from docker.errors import APIError

    try:
        words = client.containers.get(plan.container("acme").name).logs(tail=1).decode(errors="replace").strip()
    except APIError:
        words = ""
    try:
        shown = look(plan, plan.names[0])
    except OSError as error:
        return f"none is served ({type(error).__name__}); acme: {words or 'silent'}"
    return f"{shown}; acme: {words or 'silent'}" if shown.internal else str(shown)
