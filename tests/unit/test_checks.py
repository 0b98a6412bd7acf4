"""The checks compare what they find with the plan: each departure turns red what is about it, and nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import io
import itertools
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import checks
from checks import baselines, evidence, probe, probing, slo
from checks.evidence import Row, Waiver
from checks.facts import ContainerFact, FileMode, Process
from checks.plugin import Case, Expect, Spec
from checks.test_baseline import MIB, RULES
from checks.test_baseline import test_deviations as deviations
from checks.test_network import _opens
from infra.errors import MaiaError
from infra.plan import Container, Plan
from infra.site import Site
from tests.system.test_mutations import MUTATIONS, UNTRIED

Planned = Callable[..., Plan]

APP = {
    "image": "sha256:" + "a" * 64,
    "needs": {"database": True, "bucket": True, "redis": True},
    "wire": {"DATABASE_URL": "database-url"},
}
AWAY = {"copies": {"offsite": {"s3": {"endpoint": "https://s3.example.org", "bucket": "points", "key_id": "k"}}}}
ACCOUNTS = {"auth": {"enabled": True}}
CERTIFIED = {"names": ["maia.example.org"], "acme": {"directory": "https://acme.example.org/directory"}}
SERVERS = {"web": {"address": "192.0.2.1"}}
MODULES = [path.stem for path in sorted(evidence.HERE.glob("test_*.py"))]


def every_case(plan: Plan) -> Iterator[tuple[str, Case]]:
    for module in MODULES:
        for name, function in vars(importlib.import_module(f"checks.{module}")).items():
            if make := getattr(function, "cases", None):
                for case in make(plan):
                    yield name.removeprefix("test_"), case


# -- names and controls -------------------------------------------------------------------------------------------


def test_every_check_has_a_name_of_its_own(planned: Planned) -> None:
    names = [f"{subject}[{case.id}]" for subject, case in every_case(planned({"apps": {"notes": APP}}))]
    assert len(names) > 300
    assert len(set(names)) == len(names)


def test_every_check_speaks_to_a_control_and_every_mapping_to_a_check(planned: Planned) -> None:
    asked = {"apps": {"notes": APP}, "gateway": CERTIFIED, "backup": AWAY, "hosts": SERVERS, "parts": ACCOUNTS}
    plan = planned(asked)
    keys = {f"{subject}.{case.rule}" for subject, case in every_case(plan)}
    assert keys == {key for key in baselines.by_check() if not key.startswith("grafana.")}


def test_every_control_has_a_check_or_says_who_looks_what_is_to_come_or_why_not() -> None:
    for control in baselines.controls().values():
        assert control.title
        assert control.checks or control.manual or control.planned or control.waiver, control.id


def test_every_rule_has_a_mutation_or_a_reason_for_having_none(planned: Planned) -> None:
    outside = planned({"gateway": CERTIFIED, "backup": AWAY, "parts": ACCOUNTS})  # servers: test_host_checks.py
    plans = (planned({"apps": {"notes": APP}, "gateway": {"http": 8080}}), outside)
    red_once = set().union(*(expected for expected, _ in MUTATIONS.values()))
    rules = {
        (f"{subject}.{case.rule}", f"{subject}[{case.id}]") for plan in plans for subject, case in every_case(plan)
    }
    assert red_once <= {check for _, check in rules}
    tried = {rule for rule, check in rules if check in red_once}
    assert {rule for rule, _ in rules} - tried == set(UNTRIED)


# -- the container baseline ---------------------------------------------------------------------------------------


def as_planned(part: Container) -> ContainerFact:
    """What a container looks like that is just as the plan says."""
    uid, gid = (int(text) for text in part.user.split(":"))
    process = Process(
        pid=100,
        parent=1,
        uids=frozenset({uid}),
        gids=frozenset({gid}),
        capabilities=0,
        no_new_privileges=True,
        seccomp=2,
        command="serve",
        environment="",
    )
    inspect = {
        "Image": part.image_id,
        "State": {"Pid": 100, "Status": "running", "Running": True},
        "Mounts": [],
        "Config": {
            "User": "0:0" if part.root else part.user,
            "Env": [f"{name}=x" for name in part.wire],
            "Entrypoint": list(part.command),
            "Cmd": None,
            "Healthcheck": {"Test": ["CMD", *part.health.command]},
        },
        "HostConfig": {
            "ReadonlyRootfs": True,
            "GroupAdd": [str(group) for group in part.groups] or None,
            "CapDrop": ["ALL"],
            "CapAdd": [f"CAP_{name}" for name in part.capabilities] or None,
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": part.memory * MIB,
            "MemorySwap": part.memory * MIB,
            "NanoCpus": int(part.cpus * 1e9),
            "PidsLimit": part.pids,
            "ShmSize": (part.shared_memory or 64) * MIB,
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Privileged": False,
            "Devices": None,
            "PidMode": "",
            "UTSMode": "",
            "UsernsMode": "",
            "IpcMode": "private",
            "NetworkMode": "maia-local-data",
            "Tmpfs": dict.fromkeys(part.scratch, "rw,nosuid,nodev,noexec"),
        },
    }
    return ContainerFact(inspect, {"Config": {"Entrypoint": list(part.command), "Cmd": None}}, processes=(process,))


def red(part: Container, fact: ContainerFact) -> set[str]:
    pairs = {name: rule(part, fact) for name, rule in RULES.items()}
    return {name for name, (observed, expected) in pairs.items() if observed != expected}


def test_a_container_as_planned_is_green(planned: Planned) -> None:
    for part in planned({"apps": {"notes": APP}}).containers:
        assert red(part, as_planned(part)) == set()


HOST: dict[str, tuple[str, Any]] = {
    "readonly": ("ReadonlyRootfs", False),
    "groups": ("GroupAdd", ["703"]),
    "capabilities": ("CapAdd", ["CAP_NET_RAW"]),
    "no-new-privileges": ("SecurityOpt", []),
    "seccomp": ("SecurityOpt", ["no-new-privileges:true", "seccomp=unconfined"]),
    "memory": ("Memory", 0),
    "cpus": ("NanoCpus", 0),
    "pids": ("PidsLimit", None),
    "shared-memory": ("ShmSize", MIB),
    "restart": ("RestartPolicy", {"Name": "no"}),
    "log-rotation": ("LogConfig", {"Type": "json-file", "Config": {}}),
    "privileged": ("Privileged", True),
    "host-namespaces": ("PidMode", "host"),
    "scratch": ("Tmpfs", {"/tmp": "rw"}),
}


@pytest.mark.parametrize("rule", HOST)
def test_a_departure_of_the_container_turns_its_rule_red_alone(planned: Planned, rule: str) -> None:
    part = planned().container("node-exporter")
    fact = as_planned(part)
    key, value = HOST[rule]
    fact.host[key] = value
    assert red(part, fact) == {rule}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("user", {"uids": frozenset({0})}),
        ("powerless", {"capabilities": 1 << 12}),
        ("no-new-privileges", {"no_new_privileges": False}),
        ("seccomp", {"seccomp": 0}),
    ],
)
def test_a_departure_of_a_process_turns_its_rule_red_alone(planned: Planned, rule: str, change: dict[str, Any]) -> None:
    part = planned().container("gateway")
    fact = as_planned(part)
    changed = dataclasses.replace(fact, processes=(dataclasses.replace(fact.processes[0], **change),))
    assert red(part, changed) == {rule}


def test_what_was_put_in_beside_a_part_that_starts_as_root_is_not_taken_for_it(planned: Planned) -> None:
    part = planned().container("gateway")
    fact = as_planned(part)
    health = dataclasses.replace(fact.processes[0], pid=200, parent=7, uids=frozenset({0}), gids=frozenset({0}))
    child = dataclasses.replace(fact.processes[0], pid=300, parent=100)
    beside = dataclasses.replace(fact, processes=(*fact.processes, health, child))
    assert beside.lasting == (fact.processes[0], child)
    assert red(part, beside) == set()


def test_an_undeclared_departure_is_red_and_a_declared_one_that_is_gone_too(planned: Planned) -> None:
    plan = planned()
    part = plan.container("gateway")
    fact = as_planned(part)
    facts: Any = type("Facts", (), {"container": lambda self, name: fact})()
    deviations(Case("declared", "gateway"), plan, facts, Expect())
    fact.host["ReadonlyRootfs"] = False
    with pytest.raises(pytest.fail.Exception, match="read-only root"):
        deviations(Case("declared", "gateway"), plan, facts, Expect())
    fact.host["ReadonlyRootfs"] = True
    fact.host["CapAdd"] = None
    with pytest.raises(pytest.fail.Exception, match="observed"):
        deviations(Case("declared", "gateway"), plan, facts, Expect())


# -- probes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on loopback that answers each line with itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"heard " + connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def attempt(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "it", "kind": "tcp", "address": "127.0.0.1", "port": port, "seconds": 5, **more}


def test_a_probe_tells_an_open_port_from_a_closed_one(listener: int) -> None:
    assert probe.attempt_all([attempt(listener)])["it"]["outcome"] == "open"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert probe.attempt_all([attempt(unused.getsockname()[1])])["it"]["outcome"] == "ECONNREFUSED"


def test_a_probe_hears_what_is_said(listener: int) -> None:
    found = probe.attempt_all([attempt(listener, send=b"hello".hex())])["it"]
    assert found == {"outcome": "open", "answer": "heard hello"}


def test_an_answer_without_the_token_is_somebody_elses(listener: int) -> None:
    found = probe.attempt_all([attempt(listener, send=b"x".hex(), token=b"secret".hex())])["it"]
    assert found["outcome"] == "other"


def test_who_never_answers_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = probe.attempt_all([attempt(mute.getsockname()[1], send=b"x".hex(), seconds=0.2)])["it"]
    assert found == {"outcome": "silent", "answer": ""}


def test_the_outside_that_the_probe_plays_is_met_from_the_machine_itself() -> None:
    outside = probe.Outside(["127.0.0.1"])
    with probe.playing(outside):
        attempts = [
            attempt(outside.ports[kind, "127.0.0.1"], name=kind, kind=kind, token=outside.token.hex())
            for kind in ("tcp", "udp")
        ]
        found = probe.attempt_all(attempts)
    outside.close()
    assert {name: each["outcome"] for name, each in found.items()} == {"tcp": "open", "udp": "open"}


def test_parts_must_reach_what_they_need_and_nothing_else_is_asked_for(planned: Planned) -> None:
    plan = planned({"apps": {"notes": APP}})
    flows = probing.flows(plan)
    assert {("notes", "postgres", 5432), ("notes", "s3", 9000), ("gateway", "notes", 3000)} <= flows
    assert ("prometheus", "s3", 9001) in flows
    assert not any(to == "minio" for source, to, _ in flows if source != "s3")
    for source, to, _ in flows:
        assert probing.shared(plan.container(source), plan.container(to)), (source, to)


def test_a_way_out_of_the_gateway_beyond_its_routes_is_seen() -> None:
    accept, drop = {"accept": None}, {"drop": None}
    loopback = {"match": {"op": "==", "left": {"meta": {"key": "oif"}}, "right": "lo"}}
    to = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.0.0.1"}}
    assert _opens({"chain": "output", "expr": [loopback, accept]}) == ""
    assert _opens({"chain": "output", "expr": [to, drop]}) == ""
    assert _opens({"chain": "output", "expr": [to, accept]}) == "10.0.0.1"
    assert _opens({"chain": "output", "expr": [accept]}) == "anything"


# -- evidence -----------------------------------------------------------------------------------------------------


def row(outcome: str = "passed") -> Row:
    return Row(
        check="baseline[redis-user]",
        host="here",
        part="redis",
        controls=("maia-01",),
        observed={FileMode(0o400, 1, 1)},
        expected=frozenset({"b", "a"}),
        outcome=outcome,
        reason="",
        seconds=0.1,
    )


def test_the_report_names_the_plan_its_images_and_every_deviation(planned: Planned, tmp_path: Path) -> None:
    plan = planned()
    document = evidence.report(plan, "here", "20.10", [row(), row("failed")], datetime.now(UTC))
    evidence.write_report(tmp_path, document)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["plan"] == plan.hash
    assert found["images"]["redis"] == plan.container("redis").image_id
    assert {each["part"] for each in found["deviations"]} == {"gateway"}
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 0, "waived": 0}
    assert found["checks"][0]["expected"] == ["a", "b"]
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600


def test_a_waiver_covers_its_check_until_its_day() -> None:
    waiver = Waiver(check="baseline[redis-*]", reason="r", expires=date(2026, 5, 1))
    assert waiver.covers("baseline[redis-user]", "baseline.user", date(2026, 5, 1))
    assert not waiver.covers("baseline[redis-user]", "baseline.user", date(2026, 5, 2))
    assert not waiver.covers("baseline[postgres-user]", "baseline.user", date(2026, 5, 1))
    by_rule = Waiver(check="baseline.user", reason="r", expires=date(2026, 5, 1))
    assert by_rule.covers("baseline[postgres-user]", "baseline.user", date(2026, 5, 1))


@pytest.mark.parametrize(
    "text", ["- check: a.b\n  reason: r\n", "- check: a.b\n  reason: r\n  expires: soon\n", "- check\n"]
)
def test_a_waiver_without_reason_or_day_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "waivers.yaml"
    file.write_text(text)
    with pytest.raises(MaiaError, match="waiver 1 needs"):
        evidence.waivers(file)


def test_secrets_do_not_show_in_what_a_run_is_given(planned: Planned, tmp_path: Path) -> None:
    spec = Spec(plan=planned(), site=Site(tmp_path), secrets={"operator": "s3cret"}, control=None, keyword=None)
    assert "s3cret" not in repr(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_the_table_shows_failures_deviations_and_what_is_absent(planned: Planned, tmp_path: Path) -> None:
    from rich.console import Console

    result = checks.Result(rows=(row(), row("failed")), plan=planned(), seconds=1.0, evidence=tmp_path)
    console = Console(width=200, file=io.StringIO())
    console.print(checks.table(result))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 passed, 1 failed" in text
    assert "NET_ADMIN" in text
    assert "grafana" in text
    assert not result.ok


def test_p99_is_that_of_the_slow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.cycle([0.0, 0.01] * (slo.SAMPLES - 1) + [0.0, 1.0])
    monkeypatch.setattr("checks.slo.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("checks.slo.PAUSE", 0)
    assert slo.p99(lambda: None) > slo.LIMIT


def test_one_slow_round_is_not_the_service_being_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0] * slo.SAMPLES + [0.0, 0.01] * slo.SAMPLES)
    monkeypatch.setattr("checks.slo.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("checks.slo.PAUSE", 0)
    assert slo.p99(lambda: None) < slo.LIMIT


def test_the_callers_own_options_of_pytest_are_not_those_of_the_checks(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    spec = Spec(plan=planned(), site=Site(tmp_path), secrets={}, control=None, keyword="no-such-check")
    assert checks._rows(spec, lambda line: None) == []
