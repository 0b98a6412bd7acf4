"""A server is compared with what baselines ask for, in one trip; and each check of it can fail.

Changes are made, and looked at, past ssh and sudo, which some of them break. What a test host cannot show, its kernel
being shared, is changed in the facts instead: ``tests/unit/test_host_checks.py``.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import evidence, hostrules, hosts, wishes
from checks.hostrules import RULES, Verdict
from checks.hosts import HostFacts
from checks.seen import Seen
from infra import cli, converge
from infra.config import parse
from infra.errors import MaiaError
from infra.plan import Plan, build
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target
from tests.system.host_changes import ALSO, CHANGES, LAB, MEANS, UNDO
from tests.unit.conftest import MACHINE, images

ROLES = ("base", "users", "firewall", "hardening", "audit", "updates", "docker", "ssh", "metrics", "integrity")
TOLD: Mapping[str, Mapping[str, Any]] = {"docker": {"docker_hardened": True}}


@dataclass(frozen=True)
class Machine:
    """The test host as a server of a plan."""

    plan: Plan
    server: Server

    def sh(self, script: str, given: str = "") -> str:
        """What root's shell says, past ssh and sudo."""
        return self._inside("bash", "-euc", script, given=given)

    def look(self, rules: tuple[str, ...]) -> dict[str, Verdict]:
        """What becomes of these rules."""
        groups = {rule.partition(".")[0] for rule in rules}
        sections = {section for rule in rules if rule in RULES for section in RULES[rule].sections}
        ask = wishes.ask({**hostrules.EXTRA, "sections": sections}, groups)
        said = self._inside("/usr/bin/python3", "-I", "-", given=hosts.program(ask))
        return self.judge(HostFacts(name="lab", facts=json.loads(said)["facts"]), rules)

    def judge(self, facts: HostFacts, rules: tuple[str, ...]) -> dict[str, Verdict]:
        seen = Seen(self.plan, self.plan.hosts[0], facts)
        return {rule: hostrules.judge(rule, seen) for rule in rules}

    def _inside(self, *words: str, given: str = "") -> str:
        command = ["docker", "exec", "--interactive", self.server.name, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def machine(host: Target) -> Machine:
    """A server as the roles make it."""
    assert isinstance(host.on, Server)
    host.together({role: TOLD.get(role, {}) for role in ROLES if (converge.ROLES / role / "meta").is_dir()})
    values = {"maia:hosts": {"lab": {"address": "192.0.2.1", "login": host.on.user, "kernel": "shared"}}}
    return Machine(build("local", parse("local", values), MACHINE, images()), host.on)


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, Verdict]:
    """What became of every rule before anything was changed."""
    return machine.look(hostrules.names())


def waived(rule: str) -> bool:
    """Whether this rule may be red on the test host."""
    accepted, today = evidence.waivers(evidence.HERE / "waivers.yaml"), datetime.now(UTC).date()
    return any(each.covers(f"host[lab-{rule}]", f"host.{rule}", today) for each in accepted)


def test_a_server_is_looked_at_in_one_trip_and_compared_with_more_than_150_wishes(machine: Machine) -> None:
    found = hosts.look("lab", machine.server, wishes.ask(hostrules.EXTRA))
    verdicts = machine.judge(found, hostrules.names())
    assert sum(not verdict.missing for verdict in verdicts.values()) > 150
    assert {verdicts[rule].missing for rule in verdicts if rule.startswith("modules.")} == {
        "not provable here: its kernel is shared"
    }
    assert any(each["command"].startswith("sshd") and each["code"] == 0 for each in found.commands)
    assert "$y$" not in json.dumps(found.facts) + json.dumps(list(found.commands))


def test_a_server_that_is_not_the_pinned_one_or_lets_nobody_in_is_said_in_a_line(
    machine: Machine, tmp_path: Path
) -> None:
    ask = {"sections": {"os"}}
    (tmp_path / "known").write_text("")
    with pytest.raises(MaiaError, match="has another host key than the pinned one"):
        hosts.look("lab", dataclasses.replace(machine.server, known=tmp_path / "known"), ask)
    with pytest.raises(MaiaError, match="does not let us in"):
        hosts.look("lab", dataclasses.replace(machine.server, user="nobody"), ask)


def test_a_server_as_the_roles_make_it_is_red_only_where_that_is_waived(before: dict[str, Verdict]) -> None:
    if any(not (converge.ROLES / role / "meta").is_dir() for role in ROLES):
        pytest.skip("not every role is there")
    red = {rule: each for rule, each in before.items() if not (each.holds or each.missing or waived(rule))}
    assert red == {}


QUICK = ("account.uid-zero", "files.shadow", "packages.telnet", "sshd.permitrootlogin", "tree.raised")
"""Run each time, and green on a bare server too; the others with --full."""


@pytest.mark.parametrize(
    "rule", [rule if rule in QUICK else pytest.param(rule, marks=pytest.mark.long) for rule in sorted(LAB)]
)
def test_a_change_turns_just_its_check_red(machine: Machine, before: dict[str, Verdict], rule: str) -> None:
    if not before[rule].holds and waived(rule):
        pytest.skip("waived, and red before")
    assert before[rule].holds, f"red before: {before[rule]}"
    group = tuple(each for each in before if each.partition(".")[0] == rule.partition(".")[0])
    try:
        machine.sh(MEANS + CHANGES[rule])
        after = machine.look(group)
    finally:
        machine.sh(UNDO)
    red = {each for each in group if before[each].holds and not (after[each].holds or after[each].missing)}
    assert red == {rule} | ALSO.get(rule, set()), {each: after[each] for each in red}


@pytest.mark.long
def test_after_all_of_them_the_server_is_as_it_was(machine: Machine, before: dict[str, Verdict]) -> None:
    after = machine.look(hostrules.names())
    assert [rule for rule in before if after[rule].holds != before[rule].holds] == []


def test_the_command_checks_one_server_alone(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the user that is there once a server was taken over, and with no secret of the stack."""
    machine.sh(
        "id maia || useradd --create-home maia; cp -a /home/deploy/.ssh /home/maia/; chown -R maia: /home/maia/.ssh;"
        "echo 'maia ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/maia; chmod 440 /etc/sudoers.d/maia;"
        "echo 'AllowUsers maia' > /etc/ssh/sshd_config.d/99-maia.conf; systemctl reload ssh"
    )
    site = Site(tmp_path / "site")
    known = site.known("local", "lab")
    known.parent.mkdir(parents=True)
    known.write_text(machine.server.known.read_text().replace(machine.server.name, "lab"))
    shutil.copy(machine.server.key, site.key)
    server = {"address": machine.server.address, "kernel": "shared"}
    site.stack_file("local").parent.mkdir()
    site.stack_file("local").write_text(yaml.safe_dump({"config": {"maia:version": 1, "maia:hosts": {"lab": server}}}))
    monkeypatch.setenv("MAIA_SITE", str(site.root))
    cli.main(["check", "--host", "lab", "--all"])
    said = capsys.readouterr().out
    assert len(re.findall(r"passed +│ host\[lab-", said)) > 100
    assert re.search(r"passed +│ host\[lab-reached\]", said)
    assert "not provable here: its kernel is shared" in said
    assert cli.main(["check", "--host", "lab", "--control", "cis-debian-13-5.1.23"]) == 0
    assert "checks:  2 passed" in capsys.readouterr().out
    assert cli.main(["check", "--host", "lb"]) == 1
    assert "no server 'lb' (did you mean 'lab'?)" in capsys.readouterr().err
