"""The pytest side of the checks: what they are given, how they are named, selected, waived and recorded."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import urllib3
from minio.error import MinioException

from checks import baselines, evidence, facts, hostrules, hosts, probing, wishes
from checks.store import Store
from infra.catalog.model import Zone
from infra.errors import MaiaError
from infra.place import HERE, Place
from infra.plan import Plan
from infra.site import Site
from infra.ssh import Server


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a run is about. It goes to the run's process through a pipe: it holds secrets."""

    plan: Plan
    site: Site
    secrets: Mapping[str, str] = field(repr=False)
    control: str | None
    keyword: str | None
    at: Place = HERE
    """Where the parts run."""
    host: str | None = None
    """Only this server of the plan."""
    level: int | None = None
    """Only what speaks to controls of this level or a lower one."""
    servers: Mapping[str, Server | None] = field(default_factory=dict)
    """How each server of the plan is reached; None: it is this machine."""


@dataclass(frozen=True)
class Case:
    """One thing to look at: ``rule`` of ``part`` (empty where it concerns the whole)."""

    rule: str
    part: str = ""
    subject: Any = None

    @property
    def id(self) -> str:
        return f"{self.part}-{self.rule}" if self.part else self.rule


Test = TypeVar("Test", bound=Callable[..., None])


def cases(make: Callable[[Plan], Iterable[Case]]) -> Callable[[Test], Test]:
    """Run the test once per case that the plan gives rise to."""

    def mark(test: Test) -> Test:
        test.cases = make  # type: ignore[attr-defined]
        return test

    return mark


def for_parts(rules: Iterable[str]) -> Callable[[Plan], list[Case]]:
    """Every rule on every container."""
    return lambda plan: [Case(rule, container.part) for container in plan.containers for rule in rules]


class Expect:
    """Says what is expected, records what was found, and fails the check where they differ."""

    observed: Any = None
    expected: Any = None

    def __call__(self, observed: Any, expected: Any) -> None:
        self.that(observed == expected, observed, expected)

    def that(self, holds: bool, observed: Any, expected: Any) -> None:
        """``expected`` in words, where equality is not what is asked for."""
        self.observed, self.expected = observed, expected
        if not holds:
            fail(f"observed {_text(observed)}, expected {_text(expected)}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=evidence.plain)


def fail(reason: str) -> NoReturn:
    pytest.fail(reason, pytrace=False)


UNANSWERED = (OSError, urllib3.exceptions.HTTPError, MinioException)
"""Faults of an object store that is not well."""


class Subject:
    """What the checks look at; everything is gathered once, when first asked for."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.untidy = False

    @cached_property
    def facts(self) -> facts.Facts:
        return facts.gather(self.spec.plan, self.spec.at)

    @cached_property
    def hosts(self) -> dict[str, hosts.HostFacts | MaiaError]:
        """By name; of one that cannot be looked at, why."""
        wanted = {name: way for name, way in self.spec.servers.items() if self.spec.host in (None, name)}
        return hosts.look_all(wanted, wishes.ask(hostrules.EXTRA))

    @cached_property
    def store(self) -> Store:
        return Store(self.spec.plan, self.spec.site, self.spec.at)

    @cached_property
    def probes(self) -> probing.Probes:
        plan = self.spec.plan
        sealing = None
        try:
            # Where the store does not answer, the checks of the store say so.
            with contextlib.suppress(*UNANSWERED):
                if plan.has("s3"):
                    sealing = self.store.sealing_request(f"{plan.container('s3').addresses[Zone.DATA]}:9000")
            return probing.probe(plan, self.facts, sealing, self.spec.at)
        finally:
            self.untidy = sealing is not None

    def tidy(self) -> None:
        """Remove what looking at it has left."""
        if self.untidy:
            with contextlib.suppress(*UNANSWERED):
                self.store.tidy()


class Plugin:
    """Given to pytest for one run."""

    def __init__(self, spec: Spec, say: Callable[[str], None]) -> None:
        self.rows: list[evidence.Row] = []
        self._spec = spec
        self._subject = Subject(spec)
        self._began = datetime.now(UTC)
        self._say = say
        self._waivers = evidence.waivers(*waiver_files(spec.site))

    @pytest.fixture(name="plan", scope="session")
    def _plan(self) -> Plan:
        return self._spec.plan

    @pytest.fixture(name="site", scope="session")
    def _site(self) -> Site:
        return self._spec.site

    @pytest.fixture(name="at", scope="session")
    def _at(self) -> Place:
        return self._spec.at

    @pytest.fixture(name="home", scope="session")
    def _home(self) -> Site:
        """Where the stack's files lie on the machine that it runs on."""
        return self._spec.at.home(self._spec.site, self._spec.plan.stack)

    @pytest.fixture(name="secrets", scope="session")
    def _secrets(self) -> Mapping[str, str]:
        return self._spec.secrets

    @pytest.fixture(name="facts", scope="session")
    def _facts(self) -> facts.Facts:
        return self._subject.facts

    @pytest.fixture(name="servers", scope="session")
    def _servers(self) -> Mapping[str, hosts.HostFacts | MaiaError]:
        return self._subject.hosts

    @pytest.fixture(name="probes", scope="session")
    def _probes(self) -> probing.Probes:
        return self._subject.probes

    @pytest.fixture(name="store", scope="session")
    def _store(self) -> Store:
        return self._subject.store

    @pytest.fixture(name="expect")
    def _expect(self) -> Expect:
        return Expect()

    def pytest_configure(self, config: pytest.Config) -> None:
        # What a fault prints is one line; pages of source tell an operator nothing.
        config.option.tbstyle = "line"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if make := getattr(metafunc.function, "cases", None):
            found = list(make(self._spec.plan))
            metafunc.parametrize("case", found, ids=[case.id for case in found])

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if self._wanted(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen

    def _wanted(self, item: pytest.Item) -> bool:
        if item.get_closest_marker("skip"):  # the plan gives rise to no case
            return False
        subject, case = subject_and_case(item)
        if not self._spec.plan.running and subject not in ("parts", hosts.SUBJECT):
            return False
        if self._spec.host is not None and (subject != hosts.SUBJECT or case.part != self._spec.host):
            return False
        asked, level = controls_of(subject, case), self._spec.level
        if level is not None and not any((baselines.controls()[id_].level or 9) <= level for id_ in asked):
            return False
        return self._spec.control is None or any(id_.startswith(self._spec.control) for id_ in asked)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._say(f"{item.path.stem.removeprefix('test_')}: {len(self.rows)} of {len(item.session.items)} done")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, None, None]:
        try:
            return (yield)
        except (facts.NotThere, hosts.Unseen) as error:
            fail(str(error))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when != "call" and report.passed:
            return report
        subject, case = subject_and_case(item)
        check = f"{subject}[{case.id}]"
        outcome, reason = str(report.outcome), _reason(report)
        if report.failed and (waiver := self._waiver(check, f"{subject}.{case.rule}")):
            outcome, reason = "waived", f"waived until {waiver.expires}: {waiver.reason}"
            report.outcome, report.wasxfail = "skipped", reason
        expect = getattr(item, "funcargs", {}).get("expect") or Expect()
        if outcome == "failed":
            self._say(f"{check} failed: {reason}")
        self.rows.append(
            evidence.Row(
                check=check,
                host=case.part if subject == hosts.SUBJECT else self._host,
                part=case.part,
                controls=self._controls(subject, case),
                observed=expect.observed,
                expected=expect.expected,
                outcome=outcome,
                reason=reason,
                seconds=round(report.duration, 3),
            )
        )
        return report

    @property
    def _host(self) -> str:
        return self._spec.at.name or platform.node()

    def _controls(self, subject: str, case: Case) -> tuple[str, ...]:
        """Those that the check speaks to; of a server, without those of another release of Debian."""
        asked = controls_of(subject, case)
        if subject != hosts.SUBJECT:
            return asked
        return hosts.of_release(asked, self._subject.hosts[case.part])

    def _waiver(self, check: str, key: str) -> evidence.Waiver | None:
        today = datetime.now(UTC).date()
        return next((waiver for waiver in self._waivers if waiver.covers(check, key, today)), None)

    def pytest_sessionfinish(self) -> None:
        self._subject.tidy()

    def write_report(self) -> None:
        """Put the evidence of a run of all checks into the site folder."""
        plan = self._spec.plan
        looked = {name: found for name, found in self._subject.hosts.items() if isinstance(found, hosts.HostFacts)}
        servers = {name: found.facts["os"] for name, found in looked.items()}
        engine = self._subject.facts.engine
        document = evidence.report(plan, self._host, engine, self.rows, self._began, self._waivers, servers)
        folder = self._spec.site.evidence(plan.stack)
        evidence.write_report(folder, document)
        commands = {name: list(found.commands) for name, found in looked.items()}
        evidence.write(folder / "commands.json", json.dumps(commands, indent=2) + "\n")
        evidence.write(folder / "plan.json", plan.json())


def waiver_files(site: Site) -> tuple[Path, ...]:
    """Ours, and the owner's."""
    return evidence.HERE / "waivers.yaml", site.root / "waivers.yaml"


def subject_and_case(item: pytest.Item) -> tuple[str, Case]:
    assert isinstance(item, pytest.Function)  # the folder holds nothing else
    case: Case = item.callspec.params["case"]  # type: ignore[assignment]
    return item.originalname.removeprefix("test_"), case


def controls_of(subject: str, case: Case) -> tuple[str, ...]:
    return baselines.by_check().get(f"{subject}.{case.rule}", ())


def _reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr)
    return text.removeprefix("Failed: ").splitlines()[0] if text else "failed"
