"""The status page: what it reads, how it judges, what it shows."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from app.common import settings
from app.status import chart, exit_proxy, units
from app.status.exit_proxy import Client
from app.status.main import app
from app.status.plan import PlanFile, PlanUnreadable, parse
from app.status.settings import Settings
from infra.plan import Plan
from infra.render import TEMPLATES
from tests.app.conftest import Browser

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nobody answers."""

COUNTERS = """sample_time = 1795402518.897947 (Mon, 23 Nov 2026 02:55:18 GMT)
client_http.requests = 49
server.all.requests = 2
server.all.kbytes_in = 20
server.all.kbytes_out = 3
server.http.kbytes_in = 1
"""

CLIENTS = """Cache Clients:
Address: {redis}
Currently established connections: 0
    ICP  Requests 0
    HTTP Requests 4
        TCP_TUNNEL                 3  75%
        TCP_DENIED                 1  25%

Address: {status}
Currently established connections: 1
    ICP  Requests 0
    HTTP Requests 7
        TCP_MISS                   7 100%

Address: 127.0.0.1
Name:    localhost
Currently established connections: 2
    ICP  Requests 0
    HTTP Requests 45
        NONE_NONE                 30  67%
        TCP_DENIED                15  33%

TOTALS
ICP : 0 Queries, 0 Hits (  0%)
HTTP: 49 Requests, 0 Hits (  0%)
"""


class Prometheus:
    """Answers as Prometheus does: every part is up, but those in ``down``; those in ``silent`` are not there."""

    def __init__(self, plan: Plan) -> None:
        self.parts = [container.part for container in plan.containers]
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.alerts: list[dict[str, Any]] = []
        self.queries: list[str] = []

    def __call__(self, path: str, parameters: dict[str, str]) -> Any:
        if path == "/api/v1/alerts":
            return {"status": "success", "data": {"alerts": self.alerts}}
        query = parameters["query"]
        self.queries.append(query)
        if path == "/api/v1/query":
            at = float(parameters["time"]) if "time" in parameters else time.time()
            result = [{"metric": m, "value": [at, str(value)]} for m, value in self._values(query, at)]
            return {"status": "success", "data": {"resultType": "vector", "result": result}}
        start, end, step = (float(parameters[name]) for name in ("start", "end", "step"))
        times = [start + step * index for index in range(int((end - start) / step) + 1)]
        matrix = [{"metric": m, "values": [[t, str(value)] for t in times]} for m, value in self._values(query, end)]
        return {"status": "success", "data": {"resultType": "matrix", "result": matrix}}

    def _values(self, query: str, at: float) -> list[tuple[dict[str, str], float]]:
        if not re.match(r"(min|max|avg) by \(part\)", query):
            return [({}, 0.25)]
        found = [part for part in self.parts if part not in self.silent]
        if "timestamp" in query:
            if "== 0" in query:
                return [({"part": part}, at) for part in found if part in self.down]
            return [({"part": part}, at - 600) for part in found]
        return [({"part": part}, float(part not in self.down)) for part in found]


@pytest.fixture
def prometheus(plan: Plan) -> Prometheus:
    return Prometheus(plan)


def squid(plan: Plan) -> Callable[[str, dict[str, str]], str]:
    addresses = {part: plan.container(part).addresses["exit"] for part in ("redis", "status")}
    reports = {"counters": COUNTERS, "client_list": CLIENTS.format(**addresses)}
    return lambda path, parameters: reports[path.rpartition("/")[2]]


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch, **values: object) -> Iterator[Browser]:
    for name, value in values.items():
        monkeypatch.setenv(f"MAIA_{name.upper()}", str(value))
    with Browser(app) as client:
        yield client


@pytest.fixture
def client(
    monkeypatch: pytest.MonkeyPatch,
    plan: Plan,
    plan_file: Path,
    prometheus: Prometheus,
    serve: Callable[[Callable[..., Any]], str],
) -> Iterator[Browser]:
    with running(monkeypatch, plan=plan_file, prometheus=serve(prometheus), exit=serve(squid(plan))) as client:
        yield client


class Page(HTMLParser):
    """The parts of a page that tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def headline(text: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert found
    return re.sub(r"<[^>]+>", "", found[1]).strip()


def test_a_healthy_appliance_is_told_in_one_line(client: Browser) -> None:
    page = client.get("/status/").text
    assert headline(page) == "Everything works."


def test_every_part_of_the_plan_has_a_row_and_every_absent_part_its_reason(client: Browser, plan: Plan) -> None:
    page = Page(client.get("/status/").text)
    for container in plan.containers:
        assert f"{container.part} {container.title}" in page.text
    for absent in plan.absent:
        assert f"{absent.part} absent {absent.reason}" in page.text
    assert ("code", {"title": plan.containers[0].image_id}) in page.tags


def test_a_part_that_is_down_is_named_first(client: Browser, prometheus: Prometheus) -> None:
    prometheus.down = {"redis"}
    prometheus.silent = {"minio"}
    assert headline(client.get("/status/").text) == "Redis does not answer."


def test_a_part_that_nobody_measures_is_not_called_healthy(client: Browser, prometheus: Prometheus) -> None:
    prometheus.silent = {"minio", "exit"}
    page = client.get("/status/").text
    assert headline(page) == "Minio and exit are not measured."
    assert Page(page).text.count("not measured") >= 2


def test_alerts_that_fire_are_shown_and_pending_ones_are_not(client: Browser, prometheus: Prometheus) -> None:
    def alert(name: str, state: str) -> dict[str, Any]:
        return {
            "labels": {"alertname": name, "part": "redis", "severity": "critical"},
            "annotations": {"summary": f"{name} <b>", "description": "See `maia logs redis`."},
            "state": state,
            "activeAt": "2026-11-23T02:55:00.123456789Z",
            "value": "1e+00",
        }

    prometheus.alerts = [alert("RedisDown", "firing"), alert("DiskLow", "pending")]
    text = client.get("/status/").text
    assert headline(text) == "Every part answers, 1 alert firing."
    assert "<strong>RedisDown &lt;b&gt;</strong>" in text
    assert "<code>maia logs redis</code>" in text
    assert "DiskLow" not in text


def test_the_page_needs_no_script_and_obeys_its_own_content_policy(client: Browser) -> None:
    answer = client.get("/status/")
    page = Page(answer.text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "style" not in {tag for tag, _ in page.tags}
    inline = [name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")]
    assert not inline
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for tag, attributes in page.tags:
        if tag == "link":
            href = attributes["href"]
            assert href is not None
            assert client.get(href).status_code == 200


def test_every_chart_says_in_words_what_it_draws(client: Browser) -> None:
    page = Page(client.get("/status/").text)
    named = {attributes.get("aria-labelledby") for tag, attributes in page.tags if tag == "svg"} - {None}
    titles = {attributes.get("id") for tag, attributes in page.tags if tag == "title"} - {None}
    assert named == titles
    assert len(named) >= 8
    assert "over the last hour: now 25.0 %, lowest 25.0 %, highest 25.0 %" in page.text


def test_what_left_is_told_by_part_without_the_appliances_own_questions(client: Browser) -> None:
    page = Page(client.get("/status/").text)
    assert "redis mail.example.org:587 4 1" in page.text
    assert "asked for 4" in page.text
    assert "sent 3 KiB" in page.text


def test_measurements_are_asked_for_once_however_many_look(client: Browser, prometheus: Prometheus) -> None:
    client.get("/status/")
    asked = len(prometheus.queries)
    client.get("/status/")
    assert len(prometheus.queries) == asked


def test_without_prometheus_the_page_still_tells_the_plan(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, plan_file: Path
) -> None:
    with running(monkeypatch, plan=plan_file, prometheus=NOWHERE, exit=NOWHERE) as client:
        answer = client.get("/status/")
        page = Page(answer.text)
        assert answer.status_code == 200
        assert headline(answer.text) == "Nothing is known: Prometheus does not answer."
        assert "The exit proxy does not tell its counters" in page.text
        assert "redis mail.example.org:587 unknown unknown" in page.text
        assert f"postgres {plan.container('postgres').title}" in page.text
        health = client.get("/health")
        assert health.status_code == 503
        assert health.json()["prometheus"] != "ok"


def test_an_answer_that_is_not_prometheus_is_not_taken_for_health(
    monkeypatch: pytest.MonkeyPatch, plan_file: Path, serve: Callable[[Callable[..., Any]], str]
) -> None:
    url = serve(lambda path, parameters: "<html>404</html>")
    with running(monkeypatch, plan=plan_file, prometheus=url, exit=url) as client:
        assert client.get("/health").status_code == 503
        assert headline(client.get("/status/").text).startswith("Nothing is known")
        assert "maia_exit_up 0.0" in client.get("/metrics").text


def test_health_is_the_text_that_the_catalogue_looks_for(client: Browser) -> None:
    assert client.get("/health").text == '{"plan": "ok", "prometheus": "ok"}'


def test_metrics_tell_the_counters_of_the_exit_proxy(client: Browser) -> None:
    lines = client.get("/metrics").text.splitlines()
    assert 'maia_exit_requests_total{client="redis"} 4.0' in lines
    assert 'maia_exit_denied_total{client="redis"} 1.0' in lines
    assert 'maia_exit_bytes_total{direction="sent"} 3072.0' in lines
    assert "maia_exit_up 1.0" in lines
    assert not [line for line in lines if 'client="status"' in line or "127.0.0.1" in line]


def test_a_refusal_of_the_page_itself_is_told_too(plan: Plan) -> None:
    own = plan.container("status").addresses["exit"]
    clients = CLIENTS.format(redis="10.0.0.1", status=own).replace("TCP_MISS ", "TCP_DENIED_REPLY ")
    counted = exit_proxy.parse(COUNTERS, clients).by_part(parse(plan.json()), "status")
    assert counted == {"10.0.0.1": Client(requests=4, denied=1), "status": Client(requests=7, denied=7)}


def test_a_report_without_counters_is_refused() -> None:
    with pytest.raises(exit_proxy.Unreadable):
        exit_proxy.parse("<html>", CLIENTS)


def test_the_plan_that_is_mounted_has_the_plans_own_hash(plan: Plan) -> None:
    template = (TEMPLATES / "status" / "plan.json.j2").read_text()
    assert template == "{{ plan.json() }}"
    assert parse(plan.json()).hash == plan.hash


def test_a_changed_plan_is_read_again_and_a_bad_one_is_refused(plan_file: Path) -> None:
    reader = PlanFile(plan_file)
    assert reader.read() is reader.read()
    changed = json.loads(plan_file.read_text()) | {"stack": "other"}
    partial = plan_file.with_suffix(".partial")
    partial.write_text(json.dumps(changed))
    os.replace(partial, plan_file)
    assert reader.read().stack == "other"
    plan_file.unlink()
    with pytest.raises(PlanUnreadable):
        reader.read()


def test_a_plan_that_is_none_is_told_instead_of_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("[]")
    with running(monkeypatch, plan=path, prometheus=NOWHERE, exit=NOWHERE) as client:
        answer = client.get("/status/")
        assert answer.status_code == 503
        assert answer.text.startswith("The plan cannot be read: not a plan")


def test_a_setting_that_is_missing_is_named() -> None:
    with pytest.raises(settings.SettingError, match=r"^MAIA_PROMETHEUS: not set$"):
        settings.read(Settings, {"MAIA_PLAN": "/etc/maia/plan.json"})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (units.number(0), "0"),
        (units.number(1234567), "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567"),
        (units.number(0.123), "0.12"),
        (units.ratio(0.99999), "99.999 %"),
        (units.ratio(0.999999), "99.999 %"),
        (units.ratio(1), "100 %"),
        (units.size(1024), "1 KiB"),
        (units.size(57.2 * 2**20), "57.2 MiB"),
        (units.seconds(0.0062), "6.20 ms"),
        (units.seconds(0.000912), "912 µs"),
        (units.duration(59), "59 s"),
        (units.duration(7200), "2 h"),
    ],
)
def test_numbers_are_written_for_people(told: str, expected: str) -> None:
    assert told == expected


POINTS = st.lists(
    st.tuples(st.integers(0, 120), st.floats(0, 1e15, allow_nan=False)), min_size=1, unique_by=lambda point: point[0]
).map(lambda points: sorted((float(at * 30), value) for at, value in points))


@tries(deadline=None)
@given(POINTS)
def test_a_chart_stays_within_its_frame(points: list[tuple[float, float]]) -> None:
    drawn = chart.draw(points, start=0, end=3600, step=30, unit=units.number)
    for path in (*drawn.lines, *drawn.areas):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path):
            assert -2 <= float(x) <= chart.WIDTH + 2
            assert 0 <= float(y) <= chart.HEIGHT
    assert sum(line.count("L") + 1 for line in drawn.lines) >= len(points)


def test_a_gap_in_the_measurements_is_a_gap_in_the_line() -> None:
    points = [(0.0, 1.0), (30.0, 1.0), (300.0, 2.0), (330.0, 2.0)]
    assert len(chart.draw(points, start=0, end=3600, step=30, unit=units.number).lines) == 2


@tries(deadline=None)
@given(st.floats(0, 1e18, allow_nan=False))
def test_the_axis_reaches_the_highest_value(value: float) -> None:
    assert chart.ceiling(value) >= value
