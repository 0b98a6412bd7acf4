"""The gateway to strangers: what it accepts, whom it believes, what it hides."""

from __future__ import annotations

import json
import re
import ssl
import warnings

import docker
import pytest

from tests import clients
from tests.conftest import Appliance
from tests.security.doors import EVIL, QUERY, Answer, Door, answers, told

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


@pytest.mark.parametrize("host", [EVIL, f"localhost.{EVIL}", f"{EVIL}:8443", "127.0.0.1", "10.72.0.1", "status", "s3"])
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
