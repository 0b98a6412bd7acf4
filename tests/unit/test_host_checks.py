"""What a test host cannot show of a server is changed in the facts: each departure turns its rule red."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from checks import hostrules, hosts, wishes
from checks.hostrules import WISHES
from checks.hosts import HostFacts
from checks.seen import Seen
from checks.wishes import Wish
from infra.plan import HostRole, Plan
from tests.system.host_changes import ALSO, FACTS, LAB

Planned = Callable[..., Plan]

SAMPLES: dict[str, tuple[Any, Any]] = {
    "audit.backlog": (["audit_backlog_limit=8192"], ["audit_backlog_limit=64"]),
    "audit.boot": (["audit=1"], ["quiet"]),
    "audit.immutable": (["-e 2"], ["-e 1"]),
    "docker.seccomp": (["name=seccomp,profile=builtin"], ["name=apparmor"]),
    "login.timeout": ("900", "0"),
    "systemd.time-servers": ("192.0.2.1", ""),
    "units.apparmor": ("enabled active", "disabled inactive"),
    "units.auditd": ("enabled active", "enabled failed"),
    "units.cron": ("enabled active", "disabled inactive"),
    "units.journal-remote": ("disabled inactive", "enabled active"),
    "units.journald": ("static active", "static inactive"),
    "units.ssh": ("enabled active", "enabled inactive"),
    "units.tmp": ("enabled active", "disabled inactive"),
}
"""Where it does not follow from the wish: a fact that is as asked, and one that is not."""
CARDS = {"cards": ["0000:01:00.0"], "cdi": ["/etc/cdi/nvidia.yaml"]}
COMPUTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "audit.loaded": (
        {"audit": {"rules": ["-w /a"], "loaded": ["-w /a"]}},
        {"audit": {"rules": ["-w /a"], "loaded": ["No rules"]}},
    ),
    "disk.data": ({"disks": {"encrypted": ["/var/lib/docker"]}}, {"disks": {"encrypted": [""]}}),
    "disk.swap": ({"disks": {"swaps": ["/dev/dm-1"]}}, {"disks": {"swaps": ["/swapfile"]}}),
    "gpu.ready": (
        {"gpu": {**CARDS, "said": ["550.1, Enabled"]}},
        {"gpu": {**CARDS, "said": ["550.1, Disabled"]}},
    ),
    "log.shipped": (
        {"packages": {"rsyslog-openssl": "1"}, "units": {"rsyslog.service": "enabled active"}},
        {"packages": {}, "units": {"rsyslog.service": "enabled active"}},
    ),
    "time.clock-runs": (
        {"units": {"chrony.service": "absent", "systemd-timesyncd.service": "enabled active"}},
        {"units": {"chrony.service": "absent", "systemd-timesyncd.service": "enabled inactive"}},
    ),
}


def pair(wish: Wish) -> tuple[Any, Any]:
    """A fact that is as the wish asks, and one that is not."""
    if wish.rule in SAMPLES:
        return SAMPLES[wish.rule]
    match dict(wish.asked):
        case {"is": value}:
            return value, f"not {value}"
        case {"in": [first, *_]}:
            return first, "another"
        case {"least": least}:
            return str(least), str(least - 1)
        case {"has": words}:
            return words, []
        case {"without": words}:
            return ["fine"], ["fine", words[0]]
        case {"present": True}:
            return {"there": True}, None
        case {"absent": True}:
            return None, ["there"]
        case {"mode": mode}:
            return {"/a": mode.split("|")[0]}, {"/a": "0777 root root"}
    raise AssertionError(f"give a sample of {wish.rule}")


def nested(way: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Facts of which the one at the end of the way is known."""
    for step in reversed(way):
        value = {step: value} if isinstance(step, str) else [value]
    found: dict[str, Any] = value
    return found


def verdict(planned: Planned, rule: str, facts: dict[str, Any]) -> hostrules.Verdict:
    roles: dict[str, dict[str, Any]] = {"audit": {"audit_ship_to": "192.0.2.9"}, "disks": {"disks_encrypted": True}}
    plan = planned({"hosts": {"web": {"address": "192.0.2.1"}}})
    host = plan.hosts[0]
    asked = tuple(HostRole(name=name, variables=told) for name, told in roles.items())
    seen = Seen(plan, dataclasses.replace(host, roles=asked), HostFacts(name="web", facts=facts))
    return hostrules.judge(rule, seen)


@pytest.mark.parametrize("rule", FACTS)
def test_a_departure_in_the_facts_turns_its_rule_red(planned: Planned, rule: str) -> None:
    if rule in COMPUTED:
        good, bad = COMPUTED[rule]
    else:
        wish = WISHES[rule]
        needed: dict[str, Any] = {"docker": {"told": {}}} if wish.fact[0] != "docker" else {}
        present = nested(wish.where, {"there": True}) if wish.where and wish.where[0] != wish.fact[0] else {}
        good, bad = ({**needed, **present, **nested(wish.fact, value)} for value in pair(wish))
    assert verdict(planned, rule, good).holds
    found = verdict(planned, rule, bad)
    assert not found.holds
    assert not found.missing


def test_every_rule_is_changed_in_a_test_host_or_in_the_facts() -> None:
    assert LAB | set(FACTS) == set(hostrules.names())
    assert not LAB & set(FACTS)
    assert set(ALSO) <= LAB
    assert {rule for also in ALSO.values() for rule in also} <= set(hostrules.names())


def test_what_needs_a_kernel_of_its_own_is_not_provable_on_a_shared_one(planned: Planned) -> None:
    plan = planned({"hosts": {"web": {"address": "192.0.2.1", "kernel": "shared"}}})
    seen = Seen(plan, plan.hosts[0], HostFacts(name="web", facts={"docker": {}}))
    for rule, wish in WISHES.items():
        if wish.needs == "kernel":
            assert hostrules.judge(rule, seen).missing == "not provable here: its kernel is shared"


def test_a_fact_that_could_not_be_had_is_not_taken_for_a_good_one(planned: Planned) -> None:
    with pytest.raises(hosts.Unseen, match="sshd of web could not be looked at: OSError"):
        verdict(planned, "sshd.usepam", {"sshd": {"error": "OSError: gone"}})


def test_the_program_is_of_the_standard_library_alone_and_answers_here() -> None:
    text = hosts.program(wishes.ask({}, {"sysctl", "banner", "files"}))
    said = subprocess.run([sys.executable, "-I", "-S", "-"], input=text, capture_output=True, text=True, check=True)
    found = json.loads(said.stdout)["facts"]
    assert found["files"]["/etc/passwd"]["/etc/passwd"].endswith(" root root")
    assert {"sysctl", "texts", "files", "os"} <= set(found)
