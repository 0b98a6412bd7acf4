"""Wishes for a server's accounts that are more than a fact compared with a word."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from checks.seen import Judge, Seen
from infra.host import AUTOMATION

DAY = 86400
SHELLLESS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync", "")
GID_ZERO = {"root", "sync", "shutdown", "halt", "operator"}


def _named(users: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(user["name"] for user in users)


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
    """Nobody logs in as a system's user but the appliance itself."""
    system = (user for user in seen.users if 0 < user["uid"] < 1000 or user["uid"] == 65534)
    return _named(user for user in system if user["shell"] not in SHELLLESS and user["name"] != AUTOMATION), []


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


ACCOUNTS: tuple[Judge, ...] = (
    *(uid_zero, gid_zero, group_zero, passwords, shadowed, hashes, unique, groups, shadow_group, system_shells),
    *(system_locked, root_password, changed, ends, homes, shells, docker_group),
)
