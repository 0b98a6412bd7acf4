"""What Grafana would be given, met by a stand-in: its official image is not to be had where these tests run.

What they prove ends at that image's border: user, layout, files and settings arrive, gateway and Prometheus reach it.
What Grafana itself makes of them is not proven here.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from docker.errors import ImageNotFound

from infra import dashboards
from infra.dashboards.build import DATASOURCE
from infra.images import build
from infra.images import store as images
from tests import clients
from tests.conftest import STORES, Appliance, small

PATIENCE = 120
"""Seconds until Prometheus has looked."""
TAG = "maia-test/grafana-stand-in:1"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stand-in as ``docker save`` writes it; Docker itself has forgotten it."""
    client = docker.from_env()
    base = build.build(["node"], print)["node"]
    images.load(client, base)
    context = Path(__file__).parent / "grafana"
    image, _ = client.images.build(path=str(context), buildargs={"BASE": base.tag}, tag=TAG, rm=True)
    path = tmp_path_factory.mktemp("grafana") / "grafana.tar"
    with path.open("wb") as file:
        file.writelines(image.save(named=True))
    client.images.remove(TAG)
    yield path
    for name in (TAG, str(image.id)):
        with suppress(ImageNotFound):
            client.images.remove(name, force=True)


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Appliance]:
    """A gateway, Prometheus and the stand-in, up and verified."""
    with small(tmp_path_factory.mktemp("grafana") / "site") as made:
        made.disable(*STORES, "status")
        made.values["parts"]["grafana"] = {"archive": str(archive)}
        made.write()
        said = made.maia("up").stdout
        assert " failed" not in said
        yield made


@pytest.fixture(scope="module")
def admin(grafana: Appliance) -> Iterator[httpx.Client]:
    """Grafana's own login, through the gateway."""
    with visitor(grafana, ("admin", grafana.secret("grafana-admin"))) as client:
        yield client


@pytest.fixture(scope="module")
def report(admin: httpx.Client) -> dict[str, Any]:
    """What the stand-in found when it started."""
    return dict(admin.get("/grafana/api/stand-in").json())


def visitor(grafana: Appliance, login: tuple[str, str] | None = None) -> httpx.Client:
    trusted = ssl.create_default_context(cafile=grafana.ca)
    return httpx.Client(base_url=grafana.url, auth=login, verify=trusted, trust_env=False, timeout=30)


def test_it_runs_as_its_own_user_and_writes_only_where_it_keeps_its_data(report: dict[str, Any]) -> None:
    assert report["user"] == 472
    assert set(report["writable"]) == {"/var/lib/grafana", "/var/lib/grafana/plugins", "/tmp"}


def test_its_secrets_arrive_as_files_and_not_as_variables(grafana: Appliance, report: dict[str, Any]) -> None:
    security = report["settings"]["security"]
    assert security["admin_password"] == digest(grafana.secret("grafana-admin"))
    assert security["secret_key"] == digest(grafana.secret("grafana-key"))
    assert {name for name in report["environment"] if not name.startswith("GF_PATHS_")} == set()
    container = docker.from_env().containers.get(f"maia-{grafana.name}-grafana")
    said = container.logs().decode() + str(container.attrs)
    assert grafana.secret("grafana-admin") not in said
    assert grafana.secret("grafana-key") not in said


def test_the_data_source_and_every_dashboard_arrive_and_fit_each_other(report: dict[str, Any]) -> None:
    (source,) = yaml.safe_load(report["provisioning"]["datasources/prometheus.yml"])["datasources"]
    assert (source["uid"], source["url"], source["editable"]) == (DATASOURCE, "http://prometheus:9090", False)
    (provider,) = yaml.safe_load(report["provisioning"]["dashboards/maia.yml"])["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert set(report["dashboards"]) == {f"{board.uid}.json" for board in dashboards.BOARDS}
    used = {panel["datasource"]["uid"] for board in report["dashboards"].values() for panel in board["panels"]}
    assert used == {DATASOURCE}


def test_the_gateway_leads_to_it_and_a_visitor_to_its_login(grafana: Appliance) -> None:
    with visitor(grafana) as client:
        sent = client.get("/grafana/")
        assert (sent.status_code, sent.headers["location"]) == (302, "/grafana/login")
        assert client.get("/grafana/login").text == "Log in"
        assert client.get("/grafana/api/health").json()["database"] == "ok"


def test_nobody_gets_in_without_its_password(grafana: Appliance, admin: httpx.Client) -> None:
    for login in (None, ("admin", "admin"), ("operator", grafana.secret("operator"))):
        with visitor(grafana, login) as client:
            assert client.get("/grafana/api/user").status_code == 401
            assert client.post("/grafana/api/user/signup", json={"email": "a@example.org"}).status_code == 401
    assert admin.get("/grafana/api/user").status_code == 200


def test_prometheus_reads_its_metrics_and_nobody_outside_does(grafana: Appliance, admin: httpx.Client) -> None:
    for path in ("/grafana/metrics", "/grafana//metrics", "/grafana/%6detrics", "/grafana/metrics/plugins/prometheus"):
        assert admin.get(path).status_code == 404
    limit = time.monotonic() + PATIENCE
    with clients.operator(grafana) as operator:
        question = {"query": 'grafana_build_info{part="grafana"}'}
        while not operator.get("/ops/prometheus/api/v1/query", params=question).json()["data"]["result"]:
            assert time.monotonic() < limit, f"not within {PATIENCE} s"
            time.sleep(1)


def test_its_data_outlives_its_container(grafana: Appliance) -> None:
    docker.from_env().containers.get(f"maia-{grafana.name}-grafana").remove(force=True)
    grafana.maia("up", "--skip-checks")
    mounts = docker.from_env().containers.get(f"maia-{grafana.name}-grafana").attrs["Mounts"]
    (volume,) = (mount for mount in mounts if mount["Type"] == "volume")
    assert volume["Destination"] == "/var/lib/grafana"
    assert (Path(volume["Source"]) / "grafana.db").read_text() == "kept"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
