"""Redis lets in the plan's users, each with its own rules, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from checks.plugin import Case, Expect, cases
from checks.probing import Probes
from infra.place import Place
from infra.plan import Plan
from infra.site import Site

FIXED = {"default", "admin", "backup", "health"}
SETTINGS = {
    "appendonly": "yes",
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "enable-protected-configs": "no",
    "maxmemory-policy": "noeviction",
    "protected-mode": "yes",
}


@pytest.fixture(scope="module")
def link(plan: Plan, site: Site, at: Place, home: Site) -> Iterator[redis.Redis]:
    """As administrator, over the socket that only the machine's root may use."""
    with redis.Redis(
        unix_socket_path=at.socket(str(home.sockets(plan.stack) / "redis" / "redis.sock")),
        username="admin",
        password=(site.files(plan.stack) / "administrators" / "redis").read_text(),
        decode_responses=True,
        socket_timeout=5,
    ) as found:
        yield found


@cases(lambda plan: [Case(name, "redis") for name in SETTINGS] if plan.has("redis") else [])
def test_redis_setting(case: Case, link: redis.Redis, expect: Expect) -> None:
    expect(link.config_get(case.rule).get(case.rule), SETTINGS[case.rule])


@cases(
    lambda plan: (
        [
            *(
                Case(rule, "redis")
                for rule in ("users", "default-off", "unauthenticated", "default-credentials", "writes")
            ),
            *(Case("rules", user.user) for user in plan.redis_users),
        ]
        if plan.has("redis")
        else []
    )
)
def test_redis(case: Case, plan: Plan, link: redis.Redis, probes: Probes, expect: Expect) -> None:
    if case.rule == "users":
        return expect(set(link.acl_users()), FIXED | {user.user for user in plan.redis_users})
    if case.rule == "default-off":
        return expect("off" in _user(link, "default")["flags"], True)
    if case.rule == "writes":
        return expect({key: link.info("persistence")[key] for key in ("aof_enabled", "aof_last_write_status")}, WRITES)
    if case.rule == "rules":
        return expect(*_rules(plan, link, case.part))
    answer = probes.talk(f"redis-{case.rule}").text
    return expect(answer.partition(" ")[0], "-NOAUTH" if case.rule == "unauthenticated" else "-WRONGPASS")


WRITES = {"aof_enabled": 1, "aof_last_write_status": "ok"}


def _rules(plan: Plan, link: redis.Redis, name: str) -> tuple[object, object]:
    """The user's rules as Redis states them, beside those of a user made from the plan's rules and never enabled."""
    user = next(user for user in plan.redis_users if user.user == name)
    found = _user(link, name)
    if not found:
        return "absent", "present"
    draft = f"maia-check-{name}"
    keys = [f"~{pattern}" for pattern in user.rules.keys]
    channels = [f"&{pattern}" for pattern in user.rules.channels]
    try:
        link.execute_command("ACL SETUSER", draft, "reset", *keys, *channels, *user.rules.commands)  # type: ignore[no-untyped-call]
        planned = _user(link, draft)
    finally:
        link.acl_deluser(draft)
    facets = ("commands", "keys", "channels", "selectors")
    return (
        {"on": "on" in found["flags"], "nopass": "nopass" in found["flags"], **{key: found[key] for key in facets}},
        {"on": True, "nopass": False, **{key: planned[key] for key in facets}},
    )


def _user(link: redis.Redis, name: str) -> dict[str, Any]:
    """Empty where there is none."""
    found: dict[str, Any] | None = link.acl_getuser(name)
    return found or {}
