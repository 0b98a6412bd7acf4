"""Print what the stack consists of, from its file alone; changes nothing."""

from __future__ import annotations

import argparse

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the whole plan as data")


def run(args: argparse.Namespace) -> int:
    plan = common.selected(args).plan
    if args.json:
        print(plan.json())
        return 0
    from rich.table import Table

    parts = Table("part", "zones", "memory", "needs", "reached at", title=f"stack {plan.stack}", title_justify="left")
    parts.columns[2].justify = "right"
    paths = {part: [r for r in plan.routes if r.part == part] for part in {route.part for route in plan.routes}}
    for container in plan.containers:
        needs = [f"database {role.database.name}" for role in plan.roles if role.part == container.part]
        needs += [f"redis {user.user}" for user in plan.redis_users if user.part == container.part]
        needs += [f"bucket {b.name}" for user in plan.store_users if user.part == container.part for b in user.buckets]
        reached = [f"{port.address}:{port.port}" for port in container.published]
        reached += [f"{route.host or ''}{route.route.path}" for route in paths.get(container.part, ())]
        parts.add_row(
            container.part,
            " ".join(container.addresses),
            f"{container.memory} MiB",
            "\n".join(needs),
            "\n".join(reached),
        )
    common.show(parts)
    for host in plan.hosts:
        roles = ", ".join(role.name for role in host.roles)
        print(f"host: {host.name} at {host.address}:{host.port}{' with the parts' * (host.name == plan.on)}: {roles}")
    for part, reason in plan.absences():
        print(f"absent: {part}: {reason}")
    for grant in plan.grants:
        print(f"egress: {grant.part} → {grant.endpoint}")
    total = sum(container.memory for container in plan.containers)
    volumes = len({mount.volume for container in plan.containers for mount in container.mounts})
    print(
        f"{plan.origin} · {len(plan.containers)} containers (at most {total} MiB) · {len(plan.networks)} networks · "
        f"{volumes} volumes · {len(plan.secrets)} secrets · plan {plan.hash[:12]}"
    )
    return 0
