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

from checks import evidence, facts, probing
from checks.store import Store
from infra.catalog.model import Zone
from infra.place import HERE, Place
from infra.plan import Plan
from infra.site import Site


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a run is about. It goes to the run's process through a pipe: it holds secrets."""

    plan: Plan
    site: Site
    secrets: Mapping[str, str] = field(repr=False)
    control: str | None
    keyword: str | None
    at: Place = HERE


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
        if not self._spec.plan.running and subject != "parts":
            return False
        control = self._spec.control
        return control is None or any(id_.startswith(control) for id_ in controls_of(subject, case))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._say(f"{item.path.stem.removeprefix('test_')}: {len(self.rows)} of {len(item.session.items)} done")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, None, None]:
        try:
            return (yield)
        except facts.NotThere as error:
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
                host=self._host,
                part=case.part,
                controls=controls_of(subject, case),
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

    def _waiver(self, check: str, key: str) -> evidence.Waiver | None:
        today = datetime.now(UTC).date()
        return next((waiver for waiver in self._waivers if waiver.covers(check, key, today)), None)

    def pytest_sessionfinish(self) -> None:
        self._subject.tidy()

    def write_report(self) -> None:
        """Put the evidence of a run of all checks into the site folder."""
        plan = self._spec.plan
        document = evidence.report(plan, self._host, self._subject.facts.engine, self.rows, self._began)
        evidence.write_report(self._spec.site.evidence(plan.stack), document)


def waiver_files(site: Site) -> tuple[Path, ...]:
    """Ours, and the owner's."""
    return evidence.HERE / "waivers.yaml", site.root / "waivers.yaml"


def subject_and_case(item: pytest.Item) -> tuple[str, Case]:
    assert isinstance(item, pytest.Function)  # the folder holds nothing else
    case: Case = item.callspec.params["case"]  # type: ignore[assignment]
    return item.originalname.removeprefix("test_"), case


def controls_of(subject: str, case: Case) -> tuple[str, ...]:
    return evidence.controls().get(f"{subject}.{case.rule}", ())


def _reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr)
    return text.removeprefix("Failed: ").splitlines()[0] if text else "failed"
