"""Wishes for a server that are more than a fact compared with a word: each a function of facts and plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.hosts import HostFacts
from checks.wishes import find, wishes
from infra.host import AUTOMATION
from infra.plan import Host, Plan

DAY = 86400
SHELLLESS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync", "")
GID_ZERO = {"root", "sync", "shutdown", "halt", "operator"}
CLOCKS = ("chrony", "ntp", "ntpsec", "openntpd", "systemd-timesyncd")
FIREWALLS = ("nftables", "ufw", "firewalld", "iptables-persistent", "shorewall")
DHCP = {("udp", 68), ("udp", 546)}
RAISED = {
    *("/usr/bin/" + name for name in ("chage", "chfn", "chsh", "crontab", "dotlockfile", "expiry", "fusermount3",
      "gpasswd", "mount", "newgidmap", "newgrp", "newuidmap", "passwd", "ssh-agent", "su", "sudo", "umount", "wall",
      "write")),
    *("/usr/sbin/" + name for name in ("unix_chkpwd", "postdrop", "postqueue")),
    *("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/lib/openssh/ssh-keysign", "/usr/lib/polkit-1/polkit-agent-helper-1"),
    "/usr/lib/x86_64-linux-gnu/utempter/utempter",
}  # fmt: skip
"""Programs of Debian that run with another's rights."""
WISHES = {wish.rule: wish for wish in wishes()}
LEADS = ("goto", "jump")
Chain = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a rule is given."""

    plan: Plan
    host: Host
    facts: HostFacts

    @property
    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.facts.of("accounts")["users"]
        return found

    @property
    def published(self) -> set[tuple[str, int]]:
        """What the plan lets others speak to on this server."""
        here = self.plan.on == self.host.name
        ports = [port.port for c in self.plan.containers for port in c.published if here]
        return {("tcp", self.host.port), *(("tcp", port) for port in ports)}

    def chains(self, hook: str) -> list[Chain]:
        """Base chains of the packet filter at a hook."""
        found = (each.get("chain", {}) for each in self.facts.of("nft"))
        return [chain for chain in found if chain.get("hook") == hook and chain.get("type") == "filter"]

    def rules(self, hook: str) -> Iterator[list[dict[str, Any]]]:
        """The expressions of each rule of those chains, and of the chains that they lead to."""
        rules = [each["rule"] for each in self.facts.of("nft") if "rule" in each]
        chains = [(chain["family"], chain["table"], chain["name"]) for chain in self.chains(hook)]
        for family, table, name in chains:  # grows by those that are led to
            for rule in rules:
                if (rule["family"], rule["table"], rule["chain"]) == (family, table, name):
                    yield rule["expr"]
                    led = [(family, table, each[word]["target"]) for each in rule["expr"] for word in LEADS if word in each]
                    chains += [chain for chain in led if chain not in chains]


def _named(users: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(user["name"] for user in users)


# -- accounts ---------------------------------------------------------------------------------------------------------


def uid_zero(seen: Seen) -> tuple[Any, Any]:
    return _named(user for user in seen.users if user["uid"] == 0), ["root"]


def gid_zero(seen: Seen) -> tuple[Any, Any]:
    return _named(user for user in seen.users if user["gid"] == 0 and user["name"] not in GID_ZERO), []


def group_zero(seen: Seen) -> tuple[Any, Any]:
    groups = seen.facts.of("accounts")["groups"]
    return sorted(name for name, group in groups.items() if group["gid"] == 0), ["root"]


def passwords(seen: Seen) -> tuple[Any, Any]:
    """Nobody logs in without one."""
    return _named(user for user in seen.users if user["password"] in ("empty", "absent")), []


def shadowed(seen: Seen) -> tuple[Any, Any]:
    return _named(user for user in seen.users if not user["shadowed"]), []


def hashes(seen: Seen) -> tuple[Any, Any]:
    """Passwords are kept by slow functions."""
    strong = ("locked", "yescrypt", "sha512", "empty", "absent")
    return _named(user for user in seen.users if user["password"] not in strong), []


def unique(seen: Seen) -> tuple[Any, Any]:
    return seen.facts.of("accounts")["twice"], []


def groups(seen: Seen) -> tuple[Any, Any]:
    known = {group["gid"] for group in seen.facts.of("accounts")["groups"].values()}
    return _named(user for user in seen.users if user["gid"] not in known), []


def shadow_group(seen: Seen) -> tuple[Any, Any]:
    """Nobody is in the group that reads password hashes."""
    found = seen.facts.of("accounts")["groups"].get("shadow", {"gid": -1, "members": []})
    return sorted({*found["members"], *_named(user for user in seen.users if user["gid"] == found["gid"])}), []


def system_shells(seen: Seen) -> tuple[Any, Any]:
    system = (user for user in seen.users if 0 < user["uid"] < 1000 or user["uid"] == 65534)
    return _named(user for user in system if user["shell"] not in SHELLLESS), []


def system_locked(seen: Seen) -> tuple[Any, Any]:
    """Who has no shell has no password either."""
    shellless = (user for user in seen.users if user["uid"] and user["shell"] in SHELLLESS)
    return _named(user for user in shellless if user["password"] != "locked"), []


def root_password(seen: Seen) -> tuple[Any, Any]:
    """Root logs in by nothing that could be guessed."""
    return next((user["password"] for user in seen.users if user["uid"] == 0), "absent"), "locked"


def changed(seen: Seen) -> tuple[Any, Any]:
    """Nobody's password was set in the future, and so never ends."""
    today = time.time() // DAY + 1
    return _named(user for user in seen.users if user["changed"].isdigit() and int(user["changed"]) > today), []


def ends(seen: Seen) -> tuple[Any, Any]:
    kept = (user for user in seen.users if user["password"] not in ("locked", "empty", "absent"))
    return _named(u for u in kept if not (u["most"].isdigit() and 0 < int(u["most"]) <= 365)), []


def homes(seen: Seen) -> tuple[Any, Any]:
    """Homes, and what programs read in them, belong to their users alone."""
    shells = {user["name"]: user["shell"] for user in seen.users}
    found = seen.facts.of("accounts")["homes"]
    return {name: wrong for name, wrong in found.items() if wrong and shells[name] not in SHELLLESS}, {}


def shells(seen: Seen) -> tuple[Any, Any]:
    return [shell for shell in seen.facts.of("accounts")["shells"] if shell.endswith("nologin")], []


def docker_group(seen: Seen) -> tuple[Any, Any]:
    """Whoever may use Docker's socket is root: only who the plan says."""
    members = seen.facts.of("accounts")["groups"].get("docker", {"members": []})["members"]
    return sorted({*members} - {seen.host.login, AUTOMATION}), []


def sudo_password(seen: Seen) -> tuple[Any, Any]:
    """Who becomes root gives a password, but for the user that the appliance itself logs in as."""
    free = [line.split()[0] for line in seen.facts.of("sudo")["lines"] if "NOPASSWD" in line]
    return sorted({*free} - {AUTOMATION, seen.host.login}), []


# -- the packet filter ------------------------------------------------------------------------------------------------


def _dropped(hook: str) -> Callable[[Seen], tuple[Any, Any]]:
    """What no rule accepts is dropped there, of both families."""

    def judge(seen: Seen) -> tuple[Any, Any]:
        families = {chain["family"] for chain in seen.chains(hook) if chain.get("policy") == "drop"}
        return "inet" in families or {"ip", "ip6"} <= families, True

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
    hooks = ("input", "output", "forward")
    found = {hook: any("log" in each for rule in seen.rules(hook) for each in rule) for hook in hooks}
    return found, dict.fromkeys(hooks, True)


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


# -- what else stands out ---------------------------------------------------------------------------------------------


def listening(seen: Seen) -> tuple[Any, Any]:
    """Only what the plan names can be spoken to."""
    others = ((kind, port, name) for kind, address, port, name in seen.facts.of("listeners") if not _inner(address))
    allowed = seen.published | DHCP
    return sorted({f"{kind} {port} {name}" for kind, port, name in others if (kind, port) not in allowed}), []


def _inner(address: str) -> bool:
    return address.startswith(("127.", "::1", "::ffff:127.", "fe80:"))


def one_clock(seen: Seen) -> tuple[Any, Any]:
    packages = seen.facts.of("packages")
    found = [name for name in CLOCKS if name in packages]
    return found, found[:1] or ["one of " + ", ".join(CLOCKS)]


def clock_runs(seen: Seen) -> tuple[Any, Any]:
    units = seen.facts.of("units")
    running = [name for name in ("chrony.service", "systemd-timesyncd.service") if units[name].endswith(" active")]
    return running, running[:1] or ["one of chrony, systemd-timesyncd"]


def _ships(seen: Seen) -> bool:
    return any(role.variables.get("audit_ship_to") for role in seen.host.roles)


def one_log(seen: Seen) -> tuple[Any, Any]:
    """The journal keeps the logs; rsyslog is beside it only where it takes them elsewhere."""
    return "rsyslog" in seen.facts.of("packages"), _ships(seen)


def shipped(seen: Seen) -> tuple[Any, Any]:
    """Logs go elsewhere, all the time, and by TLS."""
    packages, units = seen.facts.of("packages"), seen.facts.of("units")
    tls = any(name in packages for name in ("rsyslog-openssl", "rsyslog-gnutls"))
    return {"by": units["rsyslog.service"], "tls": tls}, {"by": "enabled active", "tls": True}


def loaded(seen: Seen) -> tuple[Any, Any]:
    """The kernel keeps to the rules that the files hold."""
    audit = seen.facts.of("audit")
    filed = [rule for rule in audit["rules"] if rule.startswith(("-w", "-a", "-A"))]
    found = [rule for rule in audit["loaded"] if rule.startswith(("-w", "-a", "-A"))]
    enough = len(found) >= len(filed) > 0
    return f"{len(found)} in the kernel", f"{len(found)} in the kernel" if enough else f"{len(filed)} or more"


def open_files(seen: Seen) -> tuple[Any, Any]:
    scan = seen.facts.of("scan")
    return [*scan["open"], *scan["unsticky"]], []


def orphans(seen: Seen) -> tuple[Any, Any]:
    return seen.facts.of("scan")["orphan"], []


def raised(seen: Seen) -> tuple[Any, Any]:
    """Programs that run with another's rights are those that Debian has for it."""
    return sorted({*seen.facts.of("scan")["raised"]} - RAISED), []


def logs(seen: Seen) -> tuple[Any, Any]:
    return seen.facts.of("scan")["logs"], []


def swap(seen: Seen) -> tuple[Any, Any]:
    """What memory is written to is encrypted."""
    disks = seen.facts.of("disks")
    return sorted(each for each in disks["swaps"] if not each.startswith("/dev/dm-")), []


def data_disk(seen: Seen) -> tuple[Any, Any]:
    """The disk of the appliance's data opens with a key."""
    return "/var/lib/docker" in seen.facts.of("disks")["encrypted"], True


def gpu(seen: Seen) -> tuple[Any, Any]:
    """Each card has its driver, stays ready, and is described to containers."""
    found = seen.facts.of("gpu")
    ready = [line for line in found["said"] if line.endswith(("Enabled", "On"))]
    return {"ready": len(ready), "described": bool(found["cdi"])}, {"ready": len(found["cards"]), "described": True}


@dataclass(frozen=True)
class Rule:
    judge: Callable[[Seen], tuple[Any, Any]]
    """What is found, and what is wished."""
    sections: tuple[str, ...]
    needs: str = ""


def _rules() -> Iterator[tuple[str, Rule]]:
    for judge in (uid_zero, gid_zero, group_zero, passwords, shadowed, hashes, unique, groups, shadow_group,
                  system_shells, system_locked, root_password, changed, ends, homes, shells, docker_group):  # fmt: skip
        yield f"account.{_name(judge)}", Rule(judge, ("accounts",))
    yield "sudo.password", Rule(sudo_password, ("sudo",))
    for hook in ("input", "output", "forward"):
        yield f"firewall.drop-{hook}", Rule(_dropped(hook), ("nft",))
    for judge in (loopback, established, logged, opened):
        yield f"firewall.{_name(judge)}", Rule(judge, ("nft",))
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


def _name(judge: Callable[[Seen], tuple[Any, Any]]) -> str:
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
        case "ship" if not _ships(seen):
            return "the plan asks for no logs elsewhere"
        case "luks" if not any(role.variables.get("disks_encrypted") for role in seen.host.roles if role.name == "disks"):
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


def names() -> tuple[str, ...]:
    """Every rule that a server is compared with."""
    return (*WISHES, *RULES)
