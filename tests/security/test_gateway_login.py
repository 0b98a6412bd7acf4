"""The gateway asks for the operator's login where it should, and what it opens is no more than that."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from infra.plan import Plan
from tests.conftest import Appliance
from tests.security.doors import QUERY, Door

# -- the operator's login ---------------------------------------------------------------------------------------------


def operator_paths(plan: Plan) -> list[str]:
    """Where the operator finds something; of Prometheus the questions only."""
    pages = [route.route.path for route in plan.routes if route.route.operator and route.part != "prometheus"]
    assert "/status/" in pages
    return [*pages, QUERY, "/ops/prometheus/api/v1/targets", "/ops/prometheus/-/healthy"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Authorization: Basic",
        "Authorization: Basic !",
        f"Authorization: Basic {b64encode(b'operator').decode()}",
        f"Authorization: Basic {b64encode(b'operator:').decode()}",
        f"Authorization: Basic {b64encode(b'operator:operator').decode()}",
        f"Authorization: Basic {b64encode(b'admin:admin').decode()}",
        f"Authorization: Basic {b64encode(b':').decode()}",
        "Authorization: Bearer operator",
        "X-Forwarded-User: operator",
        "Remote-User: operator",
    ],
)
def test_operator_routes_open_to_the_operator_alone(door: Door, appliance: Appliance, header: str) -> None:
    for path in operator_paths(appliance.stack.plan):
        status, headers, body = door.get(path, *([header] if header else []), login=False)
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic ")
        assert b"<title>401" in body


def test_the_operator_gets_in(door: Door) -> None:
    status, _, body = door.get(QUERY)
    assert (status, json.loads(body)["status"]) == (200, "success")
    assert door.get("/status/")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "//ops/prometheus/api/v1/query?query=up",
        "/./ops/prometheus/api/v1/query?query=up",
        "/x/../ops/prometheus/api/v1/query?query=up",
        "/healthz/../ops/prometheus/api/v1/query?query=up",
        "/ops%2fprometheus/api/v1/query?query=up",
        "/%6fps/prometheus/api/v1/query?query=up",
        "/OPS/prometheus/api/v1/query?query=up",
        "/ops/prometheus/api/v1/query;x?query=up",
        "/ops\\prometheus\\api/v1/query?query=up",
        "/status/../status/",
        "/status/%2e%2e/status/",
        "/healthz/../status/",
        "/STATUS/",
        "/status",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_login(door: Door, path: str) -> None:
    status, _, body = door.get(path, login=False)
    assert status in (301, 302, 400, 401, 404)
    assert b'"status":"success"' not in body
    assert b'class="part"' not in body


def test_another_sites_page_cannot_use_the_operators_login(mirror: Door) -> None:
    for site in ("cross-site", "same-site"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert mirror.get("/status/", f"Sec-Fetch-Site: {site}", "Content-Length: 0", method=method)[0] == 403
        assert mirror.get("/status/", f"Sec-Fetch-Site: {site}")[0] == 200
    assert mirror.get("/status/", "Sec-Fetch-Site: same-origin", "Content-Length: 0", method="POST")[0] == 200


def test_guessing_the_login_is_slowed_down(mirror: Door) -> None:
    guess = b64encode(b"operator:guess").decode()
    request = f"GET /status/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {guess}\r\n{{}}\r\n".replace("{}", "")
    heard = [status for status, _, _ in mirror.say(request.encode() * 300 + b"GET / HTTP/1.0\r\n\r\n")]
    assert set(heard[:-1]) == {401, 429}
    assert heard.count(401) < 250


# -- Prometheus -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "api/v1/admin/tsdb/snapshot",
        "api/v1/admin/tsdb/delete_series?match[]=up",
        "api/v1/admin/tsdb/clean_tombstones",
        "api/v1/write",
        "api/v1/otlp/v1/metrics",
        "api/v1/read",
        "api/v1/status/config",
        "api/v1/status/flags",
        "api/v1/status/tsdb",
        "api/v1/query/../status/config",
        "api/v1/label/%2e%2e/%2e%2e/status/config",
        "api/v1/query%2f..%2fstatus%2fconfig",
        "-/quit",
        "-/reload",
        "-/healthy/../quit",
        "federate?match[]=up",
        "metrics",
        "debug/pprof/",
        "config",
        "graph",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_prometheus_answers_questions_only_even_to_the_operator(door: Door, method: str, path: str) -> None:
    status, _, body = door.get(f"/ops/prometheus/{path}", "Content-Length: 0", method=method)
    assert status in (400, 403, 404, 405)
    assert b"scrape_configs" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW"])
def test_no_other_method_reaches_prometheus(door: Door, method: str) -> None:
    assert door.get(QUERY, "Content-Length: 0", method=method)[0] in (400, 403, 405)
