"""Who changed what is to be recorded, and the record to be shipped to a server that proves who it is."""

from __future__ import annotations

import shlex
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from infra.components import certificate
from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet
from tests.system.mutations import until

NAME = "logs.example"
SUBJECTS = {
    "time-change", "identity", "system-locale", "MAC-policy", "logins", "session", "perm_mod", "access", "mounts",
    "delete", "scope", "user_emulation", "privileged", "usermod", "perm_chng", "kernel_modules", "docker", "audit",
    "maia",
}  # fmt: skip
SHIPS = ("/etc/rsyslog.d/60-maia.conf", "/etc/maia/audit/ca.crt", "/etc/systemd/journald.conf.d/61-maia-audit.conf")


@dataclass
class Logs:
    """A syslog server with a certificate, and what it was sent."""

    address: str
    port: int
    ca: str
    """What signed its certificate, as PEM."""
    received: bytes = b""

    def serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while listener.fileno() >= 0:
            try:
                plain = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._read, args=(plain, context), daemon=True).start()

    def _read(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as link:
            while got := link.recv(65536):
                self.received += got


@pytest.fixture(scope="module")
def logs(host: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    ca, key = certificate.authority("logs")
    pem = tmp_path_factory.mktemp("logs") / "server.pem"
    pem.write_text("".join(certificate.issue([NAME], ca, key)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    address = host.sh("ip -4 route show default").split()[2]
    with socket.create_server((address, 0)) as listener:
        server = Logs(address, listener.getsockname()[1], ca)
        threading.Thread(target=server.serve, args=(listener, context), daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)


def _rules(target: Target) -> list[str]:
    return [line for line in target.sh("cat /etc/audit/rules.d/60-maia.rules").splitlines() if line.startswith("-a")]


def _parsed(host: Target, rules: list[str]) -> set[str]:
    """What auditctl says to rules one by one; the kernel takes none from a host that shares it."""
    assert isinstance(host.on, Server)
    said = host.on.run("sudo", "sh", "-c", "; ".join(f"auditctl {shlex.join(rule.split())}" for rule in rules))
    return set(said.stderr.splitlines())


def test_what_would_change_is_said_and_left(host: Target) -> None:
    assert "audit : Write the rules" in host.apply("audit", check=True)
    assert host.sh("ls /etc/audit 2>/dev/null || echo none") == "none\n"


def test_the_rules_are_in_place_and_nothing_records_what_it_cannot(host: Target) -> None:
    assert host.apply("audit")
    assert host.apply("audit") == []
    assert host.apply("audit", check=True) == []
    assert host.sh("augenrules --check 2>/dev/null") == "/usr/sbin/augenrules: No change\n"
    assert set(_rules(host)) <= set(host.sh("cat /etc/audit/audit.rules").splitlines())
    assert host.sh("systemctl is-active auditd || systemctl is-enabled auditd || true") == "inactive\ndisabled\n"


def test_every_subject_has_rules_and_every_rule_is_understood(host: Target) -> None:
    rules = _rules(host)
    assert {rule.rpartition(" ")[2] for rule in rules} == SUBJECTS
    assert any("path=/usr/bin/sudo" in rule for rule in rules), "programs that lend rights were looked for"
    understood = _parsed(host, rules)
    assert all("not permitted" in line or "error while processing" in line for line in understood), understood
    wrong = _parsed(host, ["-a always,exit -F arch=b64 -S no_such_call -k wrong"])
    assert "Syscall name unknown: no_such_call" in wrong, "a rule that is not understood would be seen"


def test_the_record_is_rotated_and_where_it_must_be_never_thrown_away(host: Target) -> None:
    settings = host.sh("cat /etc/audit/auditd.conf")
    assert "\nmax_log_file = 32\n" in settings
    assert "\nmax_log_file_action = ROTATE\n" in settings
    assert host.apply("audit", audit_strict=True, audit_immutable=True)
    settings = host.sh("cat /etc/audit/auditd.conf")
    assert "\nmax_log_file_action = KEEP_LOGS\n" in settings
    assert "\ndisk_full_action = HALT\n" in settings
    assert host.sh("tail -1 /etc/audit/audit.rules") == "-e 2\n"
    assert host.apply("audit", audit_strict=True, audit_immutable=True) == []
    host.apply("audit")


def test_rules_and_logs_are_for_root(host: Target) -> None:
    assert isinstance(host.on, Server)
    said = host.on.run("cat", "/etc/audit/rules.d/60-maia.rules", "/etc/audit/audit.rules", "/etc/audit/auditd.conf")
    assert said.stdout == ""
    assert host.on.run("ls", "/var/log/audit").stdout == ""


def test_the_journal_and_the_record_arrive_at_the_server_that_is_named(host: Target, logs: Logs) -> None:
    ship: dict[str, Any] = {
        "audit_ship_to": logs.address,
        "audit_ship_port": logs.port,
        "audit_ship_ca": logs.ca,
        "audit_ship_name": NAME,
    }
    assert host.apply("audit", **ship)
    host.sh(
        "echo 'type=TEST msg=audit(1.1:1): a record' >>/var/log/audit/audit.log; logger -t tried a word for the journal"
    )
    until(lambda: b"a record" in logs.received, "the record arrives")
    until(lambda: b"a word for the journal" in logs.received, "the journal arrives")
    assert b"\x16\x03" not in logs.received
    assert host.apply("audit", **ship) == []
    assert host.apply("audit", check=True, **ship) == []


@pytest.mark.parametrize("wrong", ["audit_ship_name", "audit_ship_ca"])
def test_a_server_that_cannot_prove_its_name_is_told_nothing(host: Target, logs: Logs, wrong: str) -> None:
    other: dict[str, Any] = {
        "audit_ship_name": "another.example",
        "audit_ship_ca": certificate.authority("stranger")[0],
    }
    right: dict[str, Any] = {"audit_ship_name": NAME, "audit_ship_ca": logs.ca}
    host.apply("audit", audit_ship_to=logs.address, audit_ship_port=logs.port, **right | {wrong: other[wrong]})
    host.sh(f"logger -t tried held back by {wrong}")
    refused = "journalctl --unit=rsyslog --grep='not permitted to talk|certificate' --quiet || true"
    until(lambda: host.sh(refused) != "", "the server is not believed")
    assert f"held back by {wrong}".encode() not in logs.received


def test_without_a_server_nothing_is_shipped_any_more(host: Target) -> None:
    assert host.apply("audit")
    assert host.sh(f"ls {' '.join(SHIPS)} 2>/dev/null || true") == ""
    assert host.apply("audit") == []


def test_removed_it_leaves_debians_own(host: Target) -> None:
    assert host.apply("audit", entry="remove")
    assert "-a always" not in host.sh("cat /etc/audit/audit.rules")
    assert "\nmax_log_file = 8\n" in host.sh("cat /etc/audit/auditd.conf")
    assert host.apply("audit", entry="remove") == []


def test_an_image_records_from_its_first_start(image: Target) -> None:
    ship: dict[str, Any] = {"audit_ship_to": "logs.example", "audit_ship_ca": certificate.authority("logs")[0]}
    assert image.apply("audit", check=True, **ship)
    assert image.apply("audit", **ship)
    assert image.apply("audit", **ship) == []
    assert {rule.rpartition(" ")[2] for rule in _rules(image)} == SUBJECTS
    assert image.sh("systemctl is-enabled auditd rsyslog") == "enabled\nenabled\n"
    assert "audit=1 audit_backlog_limit=8192" in image.sh("cat /etc/default/grub.d/61-maia-audit.cfg")
    assert image.apply("audit", entry="remove")
    assert image.apply("audit", entry="remove") == []


@pytest.mark.long
def test_debian_12_has_the_same_rules(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    older = Target(lab.up("role-audit-12", quiet, release="12"))
    assert older.apply("audit")
    assert older.apply("audit") == []
    understood = _parsed(older, _rules(older))
    assert all("not permitted" in line or "error while processing" in line for line in understood), understood
    assert older.apply("audit", entry="remove")
    lab.down(quiet)
