"""Each server of the plan is as the roles are to make it: what it says of itself, compared with wishes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from checks import hostrules
from checks.hosts import HostFacts
from checks.plugin import Case, Expect, cases
from checks.seen import Seen
from infra.errors import MaiaError
from infra.plan import Host, Plan

REACHED = "reached"


@cases(lambda plan: [Case(rule, host.name, host) for host in plan.hosts for rule in (REACHED, *hostrules.names())])
def test_host(case: Case, plan: Plan, servers: Mapping[str, HostFacts | MaiaError], expect: Expect) -> None:
    found = servers[case.part]
    if case.rule == REACHED:
        return expect(found.what if isinstance(found, MaiaError) else "reached", "reached")
    if isinstance(found, MaiaError):
        pytest.skip(f"not looked at: {found}")
    host: Host = case.subject
    verdict = hostrules.judge(case.rule, Seen(plan, host, found))
    if verdict.missing:
        pytest.skip(verdict.missing)
    return expect.that(verdict.holds, verdict.observed, verdict.expected)
