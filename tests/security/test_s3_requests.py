"""Requests that carry something past the S3 route's filter, or that only MinIO's own kind may make, are refused."""

from __future__ import annotations

import io
import json
import re
import tarfile

import pytest
from minio import Minio

from infra.components import store
from infra.stack import Stack
from tests import clients
from tests.clients import Bucket
from tests.security.routes import BOTH, HOST, SEALED, SEALING, Client, readable

# -- parameters, forms, archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        f"{SEALED}=AAAA",
        f"{SEALED.lower()}=AAAA",
        SEALED,
        f"a=b&{SEALED}=AAAA",
        f"a=b&&{SEALED}=AAAA",
        f"X-Mini%6f{SEALED.removeprefix('X-Minio')}=AAAA",
        f"%58{SEALED.removeprefix('X')}=AAAA",
        f"a=%26b&{SEALED.replace('-', '%2D')}=AAAA",
        f"a?{SEALED}=b&{SEALED}=AAAA",
        "X-Minio-Source-Replication-Request=true",
        "x-minio-meta-a=b",
    ],
)
@pytest.mark.parametrize(("method", "prefix"), [("PUT", ""), ("POST", "uploads=&")])
def test_a_parameter_of_minios_own_is_refused_in_any_spelling(
    part: Client, bucket: Bucket, key: str, method: str, prefix: str, query: str
) -> None:
    done = part.send(method, f"/{bucket.name}/{key}?{prefix}{query}", body=b"text", signed={})
    assert (done.status, done.by_minio) == (400, False)


def test_a_parameter_behind_a_fragment_is_refused(part: Client, bucket: Bucket, key: str) -> None:
    for target in (f"/{bucket.name}/{key}?a#&{SEALED}=A", f"/{bucket.name}/{key}#?{SEALED}=A"):
        done = part.send("PUT", target, body=b"text")
        assert (done.status, done.by_minio) == (400, False)


def test_parameters_in_a_body_are_not_taken_for_metadata(part: Client, minio: Minio, bucket: Bucket, key: str) -> None:
    body = "&".join(f"{name}={value}" for name, value in SEALING.items())
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert part.send("PUT", f"/{bucket.name}/{key}", body=body.encode(), signed=form).status == 200
    assert readable(minio, bucket.name, key) == body


def form(**fields: str) -> bytes:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ntext\r\n--x--\r\n'
    return ("".join(parts) + file).encode()


@pytest.mark.parametrize("query", ["", "?uploads", "?delete", "?uploadId=x", "?a=uploads"])
@pytest.mark.parametrize(
    "types",
    [
        ("multipart/form-data; boundary=x",),
        ("Multipart/Form-Data; boundary=x",),
        ("text/plain", "multipart/form-data; boundary=x"),
        ("multipart/form-data; boundary=x", "text/plain"),
    ],
)
def test_a_browsers_form_upload_is_refused(part: Client, bucket: Bucket, query: str, types: tuple[str, ...]) -> None:
    body = form(key="planted", **SEALING)
    more = tuple(("Content-Type", value) for value in types)
    for signed in BOTH:
        done = part.send("POST", f"/{bucket.name}{query}", body=body, signed=signed, more=more)
        assert (done.status, done.by_minio) == (400, False)


@pytest.mark.parametrize("values", [("true",), ("TRUE",), ("", "true"), ("true", ""), ("false", "true"), (" true ",)])
def test_an_archive_to_be_unpacked_is_refused(part: Client, bucket: Bucket, key: str, values: tuple[str, ...]) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("planted")
        member.size = 4
        member.pax_headers = {f"MINIO.metadata.{name}": value for name, value in SEALING.items()}
        tar.addfile(member, io.BytesIO(b"text"))
    more = tuple(("X-Amz-Meta-Snowball-Auto-Extract", value) for value in values)
    done = part.send("PUT", f"/{bucket.name}/{key}.tar", body=archive.getvalue(), signed={}, more=more)
    assert (done.status, done.by_minio) == (400, False)


# -- administration ---------------------------------------------------------------------------------------------------

HIDDEN = (
    "/minio/admin/v3/info",
    "/minio/admin/v3/list-users",
    "/minio/",
    "/minio",
    "/minio/kms/v1/status",
    "/minio/metrics/v3/api",
    "/minio/v2/metrics/cluster",
    "/minio/v2/metrics/node",
    "/minio/prometheus/metrics",
    "/minio/health/live",
    "/minio/health/cluster/read",
    "/minio/storage/data/v63/diskinfo",
    "/minio/grid/v1",
    "/minio/peer/v39/health",
    "/minio/bootstrap/v1/verify",
    "/.minio.sys/config/config.json",
    "/.well-known/openid-configuration",
    "/%6dinio/admin/v3/info",
    "/%6D%69nio/admin/v3/info",
    "//minio/admin/v3/info",
    "/./minio/admin/v3/info",
    "/minio/./admin/v3/info",
    "/x/../minio/admin/v3/info",
    "/x/%2e%2e/minio/admin/v3/info",
    "/x/%2E%2e/minio/admin/v3/info",
    "/x/..%2fminio/admin/v3/info",
    "/x/..\\minio/admin/v3/info",
    "/minio/health/cluster/../../admin/v3/info",
    "/minio/health/cluster/%2e%2e/%2e%2e/admin/v3/info",
    "/minio%2fadmin/v3/info",
    "/minio/admin/v3/info?x=/minio/health/cluster",
    "/minio/admin/v3/info#/minio/health/cluster",
    f"http://{HOST}/minio/admin/v3/info",
    "http://localhost/minio/admin/v3/info",
    f"http://{HOST}//minio/admin/v3/info",
)


@pytest.mark.parametrize("path", HIDDEN)
def test_minios_own_paths_are_hidden_even_from_its_root(root: Client, path: str) -> None:
    for signed in BOTH:
        done = root.send("GET", path, signed=signed if path.startswith("/") else None)
        assert not (200 <= done.status < 300)
        if done.by_minio:
            # What is left is an object's name to MinIO, never a path of its own.
            assert b"<Resource>/minio/admin" not in done.body
            assert re.search(
                rb"<Code>(AccessDenied|NoSuchBucket|NoSuchKey|InvalidBucketName|XMinioInvalidResourceName)</Code>",
                done.body,
            )


def test_the_plain_path_is_answered_on_the_unfiltered_socket(stack: Stack) -> None:
    info = store.administer(clients.administration(stack.site, stack.name)).info()
    assert json.loads(info)["mode"] == "online"


def test_nobody_gets_a_token_in_exchange_for_a_login(part: Client, root: Client) -> None:
    action = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for client in (part, root):
        for target, body in (("/", action), (f"/?{action}", ""), (f"/?uploads&{action}", ""), ("/?uploads", action)):
            done = client.send("POST", target, body=body.encode(), signed=kind)
            assert b"SessionToken" not in done.body
            assert done.status >= 400


def test_health_is_all_that_anybody_may_ask(part: Client) -> None:
    assert part.send("GET", "/minio/health/cluster").status == 200
    for method in ("PUT", "POST", "DELETE"):
        assert part.send(method, "/minio/health/cluster").status in (400, 403, 405)


def test_without_a_signature_nothing_is_listed_read_or_written(part: Client, bucket: Bucket, key: str) -> None:
    assert part.send("PUT", f"/{bucket.name}/{key}", body=b"text", signed={}).status == 200
    for method, target in (
        ("GET", "/"),
        ("GET", f"/{bucket.name}"),
        ("GET", f"/{bucket.name}/{key}"),
        ("PUT", f"/{bucket.name}/other"),
        ("DELETE", f"/{bucket.name}/{key}"),
    ):
        assert part.send(method, target).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "4"), ("Content-Length", "5")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Transfer-Encoding", "xchunked")],
        [("Transfer-Encoding ", "chunked")],
        [("Content-Length", "+4")],
        [("Host", "other")],
    ],
)
def test_a_request_of_two_lengths_is_refused(part: Client, bucket: Bucket, headers: list[tuple[str, str]]) -> None:
    done = part.raw(
        f"POST /{bucket.name}/x?uploads HTTP/1.1", [("Host", HOST), *headers], b"0\r\n\r\nGET / HTTP/1.1\r\n"
    )
    assert done.status in (400, 501)
    assert not done.by_minio


def test_a_key_that_only_looks_like_a_path_trick_is_an_object(part: Client, bucket: Bucket, minio: Minio) -> None:
    for name in ("a..b/..c.txt", "minio/admin/v3/info", "x-minio-replication", "ü/%25.txt"):
        target = f"/{bucket.name}/{name}" if name.isascii() and "%" not in name else f"/{bucket.name}/%C3%BC/%2525.txt"
        assert part.send("PUT", target, body=b"text", signed={}).status == 200
        assert readable(minio, bucket.name, name) == "text"
