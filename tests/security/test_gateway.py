"""The gateway to strangers: what it accepts, whom it believes, what it hides.

What parts are told of a request is read from a second copy of it: the same image, configuration, certificate and
login, alone in a network of its own where every route leads to a server that repeats what it heard.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import ssl
import tempfile
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest

from infra.plan import Plan
from tests import clients
from tests.conftest import Appliance

QUERY = "/ops/prometheus/api/v1/query?query=up"
SECONDS = 20
EVIL = "evil.invalid"

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


@dataclass(frozen=True)
class Door:
    """A gateway's TLS listener; speaks bytes, so that it can speak nonsense."""

    dial: Callable[[], socket.socket]
    port: int
    """The published one."""
    ca: str
    login: str = field(repr=False)
    """``Authorization`` of the operator."""

    def shake(self, context: ssl.SSLContext, name: str | None = "localhost") -> ssl.SSLSocket:
        link = self.dial()
        try:
            return context.wrap_socket(link, server_hostname=name)
        except BaseException:
            link.close()
            raise

    def say(self, text: bytes) -> list[Answer]:
        """Send ``text`` over TLS and read every answer that comes before the gateway hangs up."""
        context = ssl.create_default_context(cafile=self.ca)
        heard = b""
        with self.shake(context) as link:
            link.settimeout(SECONDS)
            link.sendall(text)
            try:
                while data := link.recv(65536):
                    heard += data
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
        return list(answers(heard))

    def get(self, path: str, *headers: str, login: bool = True, method: str = "GET") -> Answer:
        """One request; its own Host unless ``headers`` have one."""
        lines = [f"{method} {path} HTTP/1.1", "Connection: close", *headers]
        if not any(header.lower().startswith("host:") for header in headers):
            lines.append(f"Host: localhost:{self.port}")
        if login:
            lines.append(f"Authorization: {self.login}")
        (only,) = self.say("\r\n".join([*lines, "", ""]).encode())
        return only


class Heard(io.BytesIO):
    """Bytes that were heard already, as the socket that the standard library wants to read from."""

    def makefile(self, _mode: str) -> Heard:
        return self

    def close(self) -> None:
        """One answer's end is the next one's beginning."""


def answers(heard: bytes) -> Iterator[Answer]:
    stream = Heard(heard)
    while stream.tell() < len(heard):
        found = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        found.begin()
        yield found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()


def login(appliance: Appliance) -> str:
    return "Basic " + b64encode(f"operator:{appliance.secret('operator')}".encode()).decode()


@pytest.fixture(scope="module")
def door(appliance: Appliance) -> Door:
    """The running appliance's."""
    (port,) = (each for each in appliance.stack.plan.container("gateway").published if each.target == 8443)
    return Door(
        lambda: socket.create_connection(("127.0.0.1", port.port), SECONDS), port.port, appliance.ca, login(appliance)
    )


@pytest.fixture(scope="module")
def mirror(appliance: Appliance) -> Iterator[Door]:
    """The copy whose routes lead to a server that answers with what it heard."""
    plan = appliance.stack.plan
    part, files = plan.container("gateway"), appliance.site.files(appliance.name) / "gateway"
    uid, gid = part.user.split(":")
    routes = r"(server )10\.[\d.]+(:\d+ max_fails)"
    text, count = re.subn(routes, r"\g<1>127.0.0.1\2", (files / "config" / "nginx.conf").read_text())
    assert count == len({(route.part, route.route.port) for route in plan.routes})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "nginx.conf").write_text(text)
        container = docker.from_env().containers.run(
            part.image_id,
            entrypoint=["nginx", "-e", "stderr", "-c", "/etc/maia/nginx.conf"],
            detach=True,
            network="none",
            user=part.user,
            read_only=True,
            cap_drop=["ALL"],
            volumes=[f"{folder}:/etc/maia:ro", f"{files}/secrets:/run/secrets:ro"],
            tmpfs=dict.fromkeys(part.scratch, f"uid={uid},gid={gid},mode=0700"),
        )
        servers: list[ThreadingHTTPServer] = []
        try:
            container.reload()
            pid = int(container.attrs["State"]["Pid"])
            servers = [echo(pid, route.route.port) for route in plan.routes]
            original = next(each.port for each in part.published if each.target == 8443)
            made = Door(
                lambda: clients.connect(pid, "127.0.0.1", 8443, SECONDS), original, appliance.ca, login(appliance)
            )
            await_answer(made, container)
            yield made
        finally:
            container.remove(force=True)
            for server in servers:
                server.shutdown()
                server.server_close()


def await_answer(door: Door, container: Any) -> None:
    limit = time.monotonic() + SECONDS
    while True:
        try:
            assert door.get("/healthz")[0] == 200
            return
        except OSError:
            assert time.monotonic() < limit, container.logs().decode()
            time.sleep(0.1)


def echo(pid: int, port: int) -> ThreadingHTTPServer:
    """A server in the network of process ``pid`` that answers with the request as it heard it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            told = {"line": self.requestline, "headers": [[n.lower(), v] for n, v in self.headers.items()]}
            body = json.dumps(told | {"body": self.rfile.read(length).decode()}).encode()
            self.send_response(200)
            for name, value in (("X-Powered-By", "echo/1.2.3"), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = clients.socket_of(pid)
    server.socket.bind(("127.0.0.1", port))
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def told(answer: Answer) -> dict[str, list[str]]:
    """The headers that the part behind was sent."""
    status, _, body = answer
    assert status == 200, body
    found: dict[str, list[str]] = {}
    for name, value in json.loads(body)["headers"]:
        found.setdefault(name, []).append(value)
    return found


# -- TLS --------------------------------------------------------------------------------------------------------------


def context(ca: str, version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    # This machine's own policy must not stand in for the gateway's.
    made.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = made.maximum_version = version
    return made


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(door: Door, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"), door.shake(context(door.ca, version)):
        pass


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_current_tls_is_spoken_with_forward_secrecy(door: Door, version: ssl.TLSVersion, name: str) -> None:
    with door.shake(context(door.ca, version)) as link:
        cipher = link.cipher()
        assert cipher is not None
        assert (link.version(), cipher[1]) == (name, name)
        assert name == "TLSv1.3" or cipher[0].startswith("ECDHE-")


@pytest.mark.parametrize("ciphers", ["kRSA", "AES128-SHA", "ECDHE+SHA", "DHE", "aNULL", "CAMELLIA", "AESCCM"])
def test_weak_ciphers_are_refused(door: Door, ciphers: str) -> None:
    weak = context(door.ca, ssl.TLSVersion.TLSv1_2, f"{ciphers}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"), door.shake(weak):
        pass


def test_a_name_that_is_not_ours_gets_no_certificate_for_it(door: Door) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), door.shake(ssl.create_default_context(cafile=door.ca), EVIL):
        pass
    with pytest.raises(ssl.SSLCertVerificationError), door.shake(ssl.create_default_context()):
        pass


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [EVIL, f"localhost.{EVIL}", f"{EVIL}:8443", "127.0.0.1", "10.62.0.1", "status", "s3"])
def test_a_host_that_is_not_ours_is_misdirected(door: Door, host: str) -> None:
    for path in ("/", "/healthz", "/status/", QUERY):
        assert door.get(path, f"Host: {host}")[0] == 421


def test_a_request_line_with_a_foreign_host_is_misdirected(door: Door) -> None:
    assert door.get(f"https://{EVIL}/status/")[0] == 421


def test_what_a_client_says_of_its_origin_reaches_no_part(mirror: Door) -> None:
    names = [
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix"),
        *("X-Forwarded-Server", "X-Forwarded-Ssl", "X-Forwarded-User", "X-Real-IP", "Forwarded", "X-Host"),
        *("X-Original-Host", "X-Original-URL", "X-Rewrite-URL", "Proxy"),
    ]
    for spelling in (str, str.lower, str.upper):
        heard = told(mirror.get("/status/", *(f"{spelling(name)}: {EVIL}" for name in names)))
        assert EVIL not in json.dumps(heard)
        assert heard["x-forwarded-for"] == heard["x-real-ip"] == ["127.0.0.1"]
        assert heard["x-forwarded-proto"] == ["https"]
        assert heard["x-forwarded-host"] == heard["host"] == [f"localhost:{mirror.port}"]
        assert heard["x-forwarded-user"] == ["operator"]


def test_the_port_in_a_forged_host_reaches_no_part(mirror: Door) -> None:
    heard = told(mirror.get("/status/", "Host: localhost:1"))
    assert heard["host"] == heard["x-forwarded-host"] == [f"localhost:{mirror.port}"]


def test_a_redirect_stays_here(door: Door) -> None:
    status, headers, _ = door.get("/", f"X-Forwarded-Host: {EVIL}")
    assert (status, headers["location"]) == (302, "/status/")
    for path in (f"//{EVIL}/", f"//{EVIL}/%2e%2e", f"/\\{EVIL}", f"/status//{EVIL}"):
        assert EVIL not in door.get(path)[1].get("location", "")


def test_the_operators_password_ends_at_the_gateway(mirror: Door) -> None:
    for path in ("/status/", QUERY):
        heard = told(mirror.get(path))
        assert "authorization" not in heard
        assert mirror.login.split()[1] not in json.dumps(heard)


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


# -- answers ----------------------------------------------------------------------------------------------------------


def every_kind_of_answer(door: Door) -> dict[str, Answer]:
    return {
        "page": door.get("/status/"),
        "question": door.get(QUERY),
        "redirect": door.get("/"),
        "no login": door.get("/status/", login=False),
        "not found": door.get("/nothing"),
        "misdirected": door.get("/", f"Host: {EVIL}"),
        "forbidden": door.get(QUERY, "Content-Length: 0", method="DELETE"),
        "malformed": door.get("/", "Content-Length: x"),
        "health": door.get("/healthz"),
    }


def test_every_answer_carries_the_security_headers(door: Door) -> None:
    for kind, (_, headers, _) in every_kind_of_answer(door).items():
        assert headers.get("x-content-type-options") == "nosniff", kind
        assert "frame-ancestors" in headers.get("content-security-policy", ""), kind
        assert "x-frame-options" in headers, kind
        # What cannot be read belongs to no page yet, so it gets what a page without wishes of its own does.
        if kind != "malformed":
            assert headers["x-frame-options"] == "DENY", kind
            assert "frame-ancestors 'none'" in headers["content-security-policy"], kind
            assert headers.get("referrer-policy") in ("same-origin", "no-referrer"), kind
            assert "camera=()" in headers.get("permissions-policy", ""), kind
        # For localhost it would force every other port of the owner's machine to TLS.
        assert kind == "misdirected" or "strict-transport-security" not in headers, kind


def test_no_answer_tells_a_version(door: Door, mirror: Door) -> None:
    for each in (door, mirror):
        for kind, (_, headers, body) in every_kind_of_answer(each).items():
            assert headers.get("server") == "nginx", kind
            assert "x-powered-by" not in headers, kind
            assert not re.search(rb"nginx/\d", body), kind


# -- malformed requests -----------------------------------------------------------------------------------------------


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -1",
        "Content-Length: +6",
        "Content-Length: 0x6",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding\x0b: chunked",
        "Transfer-Encoding: \x00chunked",
        "Host: other",
    ],
)
def test_a_request_of_two_lengths_or_names_is_refused(mirror: Door, headers: str) -> None:
    start = f"POST /status/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {mirror.login}\r\n"
    heard = mirror.say(f"{start}{headers}\r\n\r\n0\r\n\r\n{SMUGGLED}".encode())
    assert [status for status, _, _ in heard] in ([400], [501], [])


def test_a_chunked_body_arrives_whole_and_alone(mirror: Door) -> None:
    start = f"POST /status/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {mirror.login}\r\nConnection: close\r\n"
    body = f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
    ((status, _, answer),) = mirror.say(f"{start}Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}".encode())
    assert (status, json.loads(answer)["body"]) == (200, SMUGGLED)
    heard = mirror.say(f"{start}Transfer-Encoding: chunked\r\n\r\n{body}".encode())
    assert len(heard) == 1
    assert json.loads(heard[0][2])["line"] == "POST /status/ HTTP/1.1"


LONG = "".join(f"X-{number}: {'a' * 500}\r\n" for number in range(100))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        ("GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (f"GET /{'a' * 40_000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 40_000}\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"X-{n}: {'a' * 500}\r\n" for n in range(100)) + "\r\n",
            400,
        ),
        ("POST /status/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n", 413),
        ("\x16\x03\x01\r\n\r\n", 400),
    ],
)
def test_nonsense_is_refused(door: Door, text: str, expected: int) -> None:
    heard = [status for status, _, _ in door.say(text.encode("latin-1"))]
    assert heard[:1] == [expected]


def test_plain_http_on_the_tls_port_is_refused(door: Door) -> None:
    with door.dial() as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ((status, _, _),) = answers(b"".join(iter(lambda: link.recv(65536), b"")))
    assert status == 400


# -- zones ------------------------------------------------------------------------------------------------------------


def test_the_gateway_has_no_way_to_the_data_and_none_out(appliance: Appliance) -> None:
    plan = appliance.stack.plan
    gateway = docker.from_env().containers.get(plan.container("gateway").name)
    pid, port = int(gateway.attrs["State"]["Pid"]), plan.container("gateway").published[0].port
    data = {
        (address, plan.container(part).ports[0])
        for part in ("postgres", "redis", "minio", "s3")
        for address in plan.container(part).addresses.values()
    }
    machine = {(network.subnet.rpartition(".")[0] + ".1", port) for network in plan.networks}
    for address, target in (*data, *machine, ("192.0.2.1", 443)):
        with pytest.raises(OSError, match=r"timed out|unreachable|refused|not permitted"):
            clients.connect(pid, address, target, seconds=1).close()
