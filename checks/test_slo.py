"""The appliance measures itself, and keeps what it promises."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import pytest

from checks.facts import Facts
from checks.plugin import Case, Expect, cases
from checks.slo import LIMIT, p99, patience, settled
from infra.measurements import Measurements
from infra.place import Place
from infra.plan import Plan
from infra.site import Site


@pytest.fixture(scope="module")
def measurements(plan: Plan, site: Site, secrets: Mapping[str, str]) -> Measurements:
    if "operator" not in secrets:
        pytest.skip("the operator's password was not given")
    return Measurements(plan, site, secrets["operator"])


def _measured(plan: Plan) -> bool:
    return plan.has("prometheus") and plan.has("gateway")


@cases(lambda plan: [Case(rule) for rule in ("present", "up", "probes")] if _measured(plan) else [])
def test_scrapes(case: Case, plan: Plan, facts: Facts, measurements: Measurements, expect: Expect) -> None:
    planned = {f"{target.part}:{target.scrape.port}" for target in plan.targets}
    if case.rule == "present":
        return expect(set(measurements.targets()), planned)
    if case.rule == "up":
        return expect(settled(measurements.targets, "up", planned, patience(facts)), dict.fromkeys(planned, "up"))
    probed = {probe.part for probe in plan.probes}
    found = settled(measurements.probes, "1", probed, patience(facts))
    return expect(
        {part: value for part, value in found.items() if value != "1" or part in probed}, dict.fromkeys(probed, "1")
    )


@cases(lambda plan: [Case("none-critical")] if _measured(plan) else [])
def test_alerts(case: Case, measurements: Measurements, expect: Expect) -> None:
    """Nothing critical. Warnings, of load or of a refused attempt, are shown; they are not the appliance's fault."""
    found = [each["metric"] for each in measurements.query('ALERTS{alertstate="firing"}')]
    shown = sorted({f"{each.get('severity', 'warning')}: {each['alertname']}" for each in found})
    expect.that(not any(alert.startswith("critical: ") for alert in shown), shown, "none that is critical")


@cases(
    lambda plan: [
        *([Case("prometheus")] if _measured(plan) else []),
        *([Case("postgres")] if plan.has("postgres") else []),
    ]
)
def test_latency(case: Case, plan: Plan, site: Site, at: Place, request: pytest.FixtureRequest, expect: Expect) -> None:
    """The p99 of small queries, as their users meet it."""
    if at.name:
        pytest.skip(f"from here, the way to {at.name} would be measured too")
    if case.rule == "prometheus":
        measurements: Measurements = request.getfixturevalue("measurements")
        found = p99(lambda: measurements.query("up"))
    else:
        socket = str(site.sockets(plan.stack) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as link:
            found = p99(lambda: link.execute("select count(*) from pg_class").fetchone())
    expect.that(found < LIMIT, f"{found * 1000:.1f} ms", f"below {LIMIT * 1000:.0f} ms")
