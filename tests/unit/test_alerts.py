"""Prometheus's configuration and alert rules, as they follow from the plan.

The rules are played by ``promtool`` in ``tests/system/test_alerts.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from infra.catalog.model import File
from infra.plan import Plan
from infra.render import render

PLAYED = Path(__file__).parents[1] / "alerts.yml"


def rendered(plan: Plan, part: str, template: str) -> Any:
    return yaml.safe_load(render(File(path="/etc/maia/x", template=template), plan, plan.container(part)))


def rules(plan: Plan) -> list[dict[str, Any]]:
    groups = rendered(plan, "prometheus", "prometheus/alerts.yml.j2")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def jobs(plan: Plan) -> dict[str, dict[str, Any]]:
    scrapes = rendered(plan, "prometheus", "prometheus/prometheus.yml.j2")["scrape_configs"]
    return {scrape["job_name"]: scrape for scrape in scrapes}


def parts(job: dict[str, Any]) -> set[str]:
    return {static["labels"]["part"] for static in job["static_configs"]}


APP = {"image": "sha256:" + "1" * 64}


def test_every_part_that_listens_is_measured(planned: Callable[..., Plan]) -> None:
    plan = planned({"apps": {"web": APP}})
    measured = set().union(*(parts(job) for job in jobs(plan).values()))
    assert measured == {container.part for container in plan.containers if container.ports}
    assert {"postgres", "redis", "exit", "minio", "gateway", "web"} <= measured


def test_every_scrape_of_the_plan_is_a_target_with_its_path(planned: Callable[..., Plan]) -> None:
    plan = planned()
    found = jobs(plan)
    for target in plan.targets:
        static = found[target.part]["static_configs"]
        assert {"part": target.part, "__metrics_path__": target.scrape.path} in [one["labels"] for one in static]
        assert [f"{target.part}:{target.scrape.port}"] in [one["targets"] for one in static]


def test_a_part_has_one_source_of_health(planned: Callable[..., Plan]) -> None:
    plan = planned()
    probed = [static["labels"]["part"] for static in jobs(plan)["probe"]["static_configs"]]
    assert len(probed) == len(set(probed))
    modules = rendered(plan, "blackbox-exporter", "blackbox-exporter/blackbox.yml.j2")["modules"]
    assert {static["labels"]["__param_module"] for static in jobs(plan)["probe"]["static_configs"]} <= modules.keys()


def test_names_that_yaml_would_take_for_something_else_stay_names(planned: Callable[..., Plan]) -> None:
    plan = planned({"apps": {"no": APP, "off": APP | {"route": None}}}, stack="on")
    assert {"no", "off"} <= parts(jobs(plan)["probe"])
    document = rendered(plan, "prometheus", "prometheus/prometheus.yml.j2")
    assert document["global"]["external_labels"] == {"stack": "on"}


def test_without_a_prober_or_alertmanager_prometheus_does_not_look_for_them(planned: Callable[..., Plan]) -> None:
    plan = planned({"parts": {"blackbox-exporter": {"enabled": False}, "alertmanager": {"enabled": False}}})
    document = rendered(plan, "prometheus", "prometheus/prometheus.yml.j2")
    assert "alerting" not in document
    assert "probe" not in jobs(plan)
    missing = next(rule for rule in rules(plan) if rule["alert"] == "TargetMissing")
    assert "alertmanager" not in missing["expr"]


def test_the_certificate_is_checked_against_the_gateways_own_name(planned: Callable[..., Plan]) -> None:
    plan = planned({"gateway": {"names": ["maia.example.org", "localhost"]}})
    module = rendered(plan, "blackbox-exporter", "blackbox-exporter/blackbox.yml.j2")["modules"]["https"]["http"]
    assert module["tls_config"] == {"ca_file": "/etc/maia/ca.crt", "server_name": "maia.example.org"}
    assert module["fail_if_body_not_matches_regexp"]


def test_every_alert_says_how_bad_what_and_what_to_do(planned: Callable[..., Plan]) -> None:
    for rule in rules(planned()):
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert not rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_every_alert_is_played(planned: Callable[..., Plan]) -> None:
    names = [rule["alert"] for rule in rules(planned())]
    assert len(names) == len(set(names))
    played = yaml.safe_load(PLAYED.read_text())["tests"]
    assert {test["name"].split(",")[0] for test in played[1:]} == set(names)
    for test in played[1:]:
        firing = test["promql_expr_test"][-1]
        assert f'alertname="{test["name"].split(",")[0]}", alertstate="firing"' in firing["expr"]
        assert firing["exp_samples"]


def test_every_alert_on_a_certificate_from_outside_is_played_too(planned: Callable[..., Plan]) -> None:
    asked = {"names": ["maia.example.org"], "acme": {"directory": "https://acme.example.org/directory"}}
    ordinary, certified = rules(planned()), rules(planned({"gateway": asked}))
    other = {rule["alert"] for rule in certified if rule not in ordinary} - {"TargetMissing"}
    played = yaml.safe_load(PLAYED.with_name("alerts-acme.yml").read_text())["tests"]
    assert {test["name"].split(",")[0] for test in played} == other


def test_every_alert_on_a_copy_is_played_too(planned: Callable[..., Plan]) -> None:
    s3 = {"endpoint": "https://s3.example.org", "bucket": "points", "key_id": "k"}
    ordinary, away = rules(planned()), rules(planned({"backup": {"copies": {"offsite": {"s3": s3}}}}))
    played = yaml.safe_load(PLAYED.with_name("alerts-copies.yml").read_text())["tests"]
    names = {rule["alert"] for rule in away if rule not in ordinary}
    assert {test["name"].split(",")[0] for test in played[1:]} == names


def test_every_alert_on_accounts_is_played_too(planned: Callable[..., Plan]) -> None:
    ordinary, more = rules(planned()), rules(planned({"parts": {"auth": {"enabled": True}}}))
    played = yaml.safe_load(PLAYED.with_name("alerts-auth.yml").read_text())["tests"]
    names = {rule["alert"] for rule in more if rule not in ordinary} - {"TargetMissing"}
    assert {test["name"].split(",")[0] for test in played[1:]} == names
    assert len(names) == 5


def test_the_healthy_appliance_that_is_played_has_a_series_for_every_rule(planned: Callable[..., Plan]) -> None:
    healthy = yaml.safe_load(PLAYED.read_text())["tests"][0]
    given = {series["series"].partition("{")[0] for series in healthy["input_series"]}
    metric = re.compile(r"\b(?:up|(?:probe|node|pg|redis|minio|maia|prometheus)_\w+)\b(?=[\[{ )]|$)")
    for rule in rules(planned()):
        asked = set(metric.findall(rule["expr"]))
        assert asked, rule["alert"]
        assert asked <= given, rule["alert"]


def test_alerts_stay_on_this_machine(planned: Callable[..., Plan]) -> None:
    document = rendered(planned(), "alertmanager", "alertmanager/alertmanager.yml.j2")
    assert [receiver.keys() for receiver in document["receivers"]] == [{"name"}]
    assert document["route"]["group_by"] == ["part"]
