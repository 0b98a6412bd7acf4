"""Grafana's dashboards, as the JSON it will read."""

from __future__ import annotations

import json
from collections.abc import Callable
from configparser import ConfigParser

import pytest
import yaml

from infra import dashboards
from infra.catalog import grafana
from infra.catalog.model import File
from infra.config import parse
from infra.dashboards.build import DATASOURCE
from infra.errors import MaiaError
from infra.plan import ImageRef, Plan, build
from infra.render import TEMPLATES, render
from tests.unit.conftest import MACHINE, images

NAMES = [board.uid for board in dashboards.BOARDS]


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_the_same_text_each_time(name: str) -> None:
    assert dashboards.dashboard(name) == dashboards.dashboard(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_asks_the_provisioned_data_source(name: str) -> None:
    board = json.loads(dashboards.dashboard(name))
    assert board["uid"] == name
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": DATASOURCE}
        assert all(target["expr"] for target in panel["targets"])
    provisioned = yaml.safe_load((TEMPLATES / "grafana" / "datasources.yml.j2").read_text())
    assert DATASOURCE in {source["uid"] for source in provisioned["datasources"]}


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_covers_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(dashboards.dashboard(name))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_queries_are_all_that_the_dashboards_ask() -> None:
    asked = {
        (name, panel["title"], target["expr"])
        for name in NAMES
        for panel in json.loads(dashboards.dashboard(name))["panels"]
        for target in panel["targets"]
    }
    assert asked == set(dashboards.queries())


def test_every_dashboard_has_a_template(planned: Callable[..., Plan]) -> None:
    plan = planned()
    part = plan.containers[0]
    for name in NAMES:
        text = render(File(path=f"/etc/maia/dashboards/{name}.json", template=f"grafana/{name}.json.j2"), plan, part)
        assert text == dashboards.dashboard(name)


def test_an_unknown_dashboard_is_refused_by_name() -> None:
    with pytest.raises(MaiaError, match="no dashboard 'nonesuch'"):
        dashboards.dashboard("nonesuch")


def test_grafana_asks_for_a_login_and_nothing_of_the_outside() -> None:
    plan = build("local", parse("local", {}), MACHINE, images() | {"grafana": ImageRef(id="sha256:1", user="472:0")})
    file = next(file for file in grafana.SERVICE.files if file.path.endswith("grafana.ini"))
    text = render(
        file, plan, plan.container("grafana"), {"grafana-admin": "a-generated-secret", "grafana-key": "another"}
    )
    settings = ConfigParser(interpolation=None)
    settings.read_string(text)
    assert settings["security"]["admin_password"] == "a-generated-secret"
    assert settings["security"]["secret_key"] == "another"
    assert not settings.getboolean("auth.anonymous", "enabled")
    assert not settings.getboolean("users", "allow_sign_up")
    assert not any(settings.getboolean("analytics", key) for key in settings["analytics"])
    assert settings["server"]["root_url"] == f"{plan.origin}/grafana/"
