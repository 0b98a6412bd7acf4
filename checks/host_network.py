"""Wishes for a server's packet filter and open ports that are more than a fact compared with a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checks.seen import Judge, Seen

FIREWALLS = ("nftables", "ufw", "firewalld", "iptables-persistent", "shorewall")
DHCP = {("udp", 68), ("udp", 546)}
HOOKS = ("input", "output", "forward")


def _dropped(hook: str) -> Judge:
    """What no rule accepts is dropped there, of both families."""

    def judge(seen: Seen) -> tuple[Any, Any]:
        families = {chain["family"] for chain in seen.chains(hook) if chain.get("policy") == "drop"}
        holds = "inet" in families or {"ip", "ip6"} <= families
        return "dropped" if holds else "let through", "dropped"

    return judge


def loopback(seen: Seen) -> tuple[Any, Any]:
    """What goes to loopback by loopback passes; what only says that it comes from there does not."""
    texts = [str(rule) for rule in seen.rules("input")]
    passes = any("'lo'" in text and "'accept'" in text for text in texts)
    forged = any("'saddr'" in text and "127.0.0.0" in text and "'accept'" not in text for text in texts)
    return {"passes": passes, "forged is dropped": forged}, {"passes": True, "forged is dropped": True}


def established(seen: Seen) -> tuple[Any, Any]:
    """Answers pass, and what belongs to nothing does not."""
    found = {hook: any("established" in str(rule) for rule in seen.rules(hook)) for hook in ("input", "output")}
    return found, {"input": True, "output": True}


def logged(seen: Seen) -> tuple[Any, Any]:
    """What is dropped is written down."""
    found = {hook: any("log" in each for rule in seen.rules(hook) for each in rule) for hook in HOOKS}
    return found, dict.fromkeys(HOOKS, True)


def opened(seen: Seen) -> tuple[Any, Any]:
    """The ports that strangers' packets are accepted on are those of the plan."""
    sets = {each["set"]["name"]: each["set"].get("elem", []) for each in seen.facts.of("nft") if "set" in each}
    found: set[tuple[str, int]] = set()
    for rule in seen.rules("input"):
        if any("accept" in each for each in rule):
            found |= {port for each in rule for port in _ports(each, sets)}
    return sorted(found - DHCP - seen.published), []


def _ports(expression: Mapping[str, Any], sets: Mapping[str, list[Any]]) -> Iterator[tuple[str, int]]:
    match = expression.get("match", {})
    payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
    if payload.get("field") != "dport":
        return
    right = match["right"]
    if isinstance(right, str) and right.startswith("@"):
        right = {"set": sets.get(right[1:], [])}
    for each in right["set"] if isinstance(right, dict) and "set" in right else [right]:
        value = each.get("elem", {}).get("val", each) if isinstance(each, dict) else each
        first, last = value["range"] if isinstance(value, dict) and "range" in value else (value, value)
        yield from ((payload["protocol"], port) for port in range(int(first), int(last) + 1))


def one_firewall(seen: Seen) -> tuple[Any, Any]:
    packages = seen.facts.of("packages")
    return [name for name in FIREWALLS if name in packages], ["nftables"]


def listening(seen: Seen) -> tuple[Any, Any]:
    """Only what the plan names can be spoken to."""
    others = ((kind, port, name) for kind, address, port, name in seen.facts.of("listeners") if not _inner(address))
    allowed = seen.published | DHCP
    return sorted({f"{kind} {port} {name}" for kind, port, name in others if (kind, port) not in allowed}), []


def _inner(address: str) -> bool:
    return address.startswith(("127.", "::1", "::ffff:127.", "fe80:"))


FILTER: dict[str, Judge] = {
    **{f"drop-{hook}": _dropped(hook) for hook in HOOKS},
    **{judge.__name__: judge for judge in (loopback, established, logged, opened)},
}
