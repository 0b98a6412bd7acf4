"""Every wish for a server, by name: those that are data, and those that are functions of facts and plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.host_accounts import ACCOUNTS, sudo_password
from checks.host_network import FILTER, listening, one_firewall
from checks.host_system import (
    clock_runs,
    data_disk,
    gpu,
    loaded,
    logs,
    one_clock,
    one_log,
    open_files,
    orphans,
    raised,
    shipped,
    ships,
    swap,
)
from checks.seen import Judge, Seen
from checks.wishes import find, wishes

WISHES = {wish.rule: wish for wish in wishes()}


@dataclass(frozen=True)
class Rule:
    judge: Judge
    sections: tuple[str, ...]
    needs: str = ""


def _rules() -> Iterator[tuple[str, Rule]]:
    for judge in ACCOUNTS:
        yield f"account.{_name(judge)}", Rule(judge, ("accounts",))
    yield "sudo.password", Rule(sudo_password, ("sudo",))
    for name, judge in FILTER.items():
        yield f"firewall.{name}", Rule(judge, ("nft",))
    yield "firewall.one-firewall", Rule(one_firewall, ("packages",))
    for judge in (open_files, orphans, raised, logs):
        yield f"tree.{_name(judge)}", Rule(judge, ("scan",))
    yield "network.listening", Rule(listening, ("listeners",))
    yield "time.one-clock", Rule(one_clock, ("packages",))
    yield "time.clock-runs", Rule(clock_runs, ("units",), "kernel")
    yield "log.one-log", Rule(one_log, ("packages",))
    yield "log.shipped", Rule(shipped, ("packages", "units"), "ship")
    yield "audit.loaded", Rule(loaded, ("audit",), "kernel")
    yield "disk.swap", Rule(swap, ("disks",), "kernel")
    yield "disk.data", Rule(data_disk, ("disks",), "luks")
    yield "gpu.ready", Rule(gpu, ("gpu",), "card")


def _name(judge: Judge) -> str:
    return judge.__name__.replace("_", "-")


RULES: Mapping[str, Rule] = dict(_rules())
EXTRA: Mapping[str, set[str]] = {
    "sections": {section for rule in RULES.values() for section in rule.sections},
    "units": {"chrony.service", "rsyslog.service", "systemd-timesyncd.service"},
}
"""What they ask beyond the wishes."""


def missing(needs: str, seen: Seen) -> str:
    """Why nothing can be proven here; empty where it can."""
    match needs:
        case "kernel" if seen.host.kind != "machine":
            return "not provable here: its kernel is shared"
        case "ipv6" if find(seen.facts.facts, ("sysctl", "net.ipv6.conf.all.forwarding")) is None:
            return "not provable here: no IPv6"
        case "docker" if not seen.facts.of("docker"):
            return "there is no Docker"
        case "ship" if not ships(seen):
            return "the plan asks for no logs elsewhere"
        case "luks" if not any(
            role.variables.get("disks_encrypted") for role in seen.host.roles if role.name == "disks"
        ):
            return "the plan asks for no encrypted disk"
        case "card" if not seen.facts.of("gpu")["cards"]:
            return "there is no card"
    return ""


@dataclass(frozen=True)
class Verdict:
    """What became of a rule."""

    observed: Any = None
    expected: Any = None
    holds: bool = False
    missing: str = ""
    """Why there is nothing to judge."""


def judge(name: str, seen: Seen) -> Verdict:
    """Compare a server with one wish, by the name of its rule."""
    if rule := RULES.get(name):
        if reason := missing(rule.needs, seen):
            return Verdict(missing=reason)
        observed, expected = rule.judge(seen)
        return Verdict(observed, expected, observed == expected)
    wish = WISHES[name]
    if reason := missing(wish.needs, seen):
        return Verdict(missing=reason)
    if wish.where and find(seen.facts.facts, wish.where) is None:
        return Verdict(missing=f"there is no {wish.where[-1]}")
    seen.facts.of(str(wish.fact[0]))
    observed = find(seen.facts.facts, wish.fact)
    return Verdict(observed, wish.expected, wish.holds(observed))


def wants_kernel(name: str) -> bool:
    """Whether a rule can be judged only where the kernel is the server's own."""
    return (RULES.get(name) or WISHES[name]).needs in ("kernel", "luks")


def names() -> tuple[str, ...]:
    """Every rule that a server is compared with."""
    return (*WISHES, *RULES)
