"""The S3 route lets through what an app needs and nothing that MinIO trusts only its own kind with.

MinIO takes sealed keys and other metadata of its own from any client that names it ``X-Minio-Replication-*``
(GHSA-3rh2-v3gr-35p9, unfixed). Every way in is tried here, and that it is a way in is shown on the unfiltered socket.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import secrets
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest
from minio import Minio
from minio.error import S3Error

from infra.catalog.model import Zone
from infra.components import store
from infra.render import render
from infra.stack import Stack
from tests import clients
from tests.clients import Bucket, Visitor

SEALING = {
    "X-Minio-Replication-Server-Side-Encryption-Iv": "A" * 44,
    "X-Minio-Replication-Server-Side-Encryption-Seal-Algorithm": "DAREv2-HMAC-SHA256",
    "X-Minio-Replication-Server-Side-Encryption-Sealed-Key": "A" * 88,
}
"""Under these an object becomes one that nobody can read."""
SEALED = next(iter(SEALING))
HOST = "s3:9000"
BOTH: tuple[dict[str, str] | None, ...] = (None, {})
"""Without a signature and with one."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def by_minio(self) -> bool:
        """Whether MinIO saw the request; otherwise the route answered by itself."""
        return "x-amz-request-id" in self.headers


@dataclass(frozen=True)
class Client:
    """Says anything at all to the S3 route, with a valid signature where asked."""

    visitor: Visitor
    user: str
    password: str = field(repr=False)

    def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        signed: Mapping[str, str] | None = None,
        more: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        """One request.

        Args:
            target: as it stands in the request line.
            signed: headers under the signature; None for no signature.
            more: headers added after signing, in this order and spelling.
        """
        headers = {"Host": HOST}
        if signed is not None:
            headers = clients.sign(
                method, f"http://{HOST}{target}", {**headers, **signed}, self.user, self.password, body
            )
        lines = [*headers.items(), ("Content-Length", str(len(body))), ("Connection", "close"), *more]
        return self.raw(f"{method} {target} HTTP/1.1", lines, body)

    def raw(self, line: str, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
        text = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers), "", ""])
        with self.visitor.dial("s3", 9000) as link:
            link.sendall(text.encode() + body)
            return answer(link)


def answer(link: socket.socket) -> Answer:
    found = http.client.HTTPResponse(link)
    try:
        found.begin()
        body = found.read()
    except (http.client.HTTPException, ConnectionError):
        return Answer(0, {}, b"")  # closed without a word
    finally:
        found.close()
    return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, body)


@pytest.fixture(scope="module")
def visitor(stack: Stack) -> Iterator[Visitor]:
    with clients.visitor(stack, Zone.DATA) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Iterator[Bucket]:
    with clients.bucket(stack, "maia-test-route") as made:
        yield made


@pytest.fixture(scope="module")
def part(visitor: Visitor, bucket: Bucket) -> Client:
    """An app with a bucket of its own."""
    return Client(visitor, bucket.user, bucket.password)


@pytest.fixture(scope="module")
def minio(stack: Stack) -> Minio:
    """As MinIO's root, over the unfiltered socket."""
    return store.objects(clients.administration(stack.site, stack.name))


@pytest.fixture(scope="module")
def root(stack: Stack, visitor: Visitor) -> Client:
    """MinIO's root in the data zone: what a stolen root credential would be worth there."""
    found = json.loads(Path(clients.administration(stack.site, stack.name)["admin"]).read_text())
    return Client(visitor, found["user"], found["password"])


@pytest.fixture
def key() -> str:
    return f"key-{secrets.token_hex(6)}"


def readable(minio: Minio, bucket: str, key: str) -> str:
    """The object's text, or why there is none."""
    try:
        with minio.get_object(bucket, key) as found:
            return str(found.read().decode())
    except S3Error as error:
        return str(error.code)


# -- headers ----------------------------------------------------------------------------------------------------------


def test_the_hole_is_real_where_nothing_is_stripped(stack: Stack, minio: Minio, bucket: Bucket, key: str) -> None:
    done = clients.unfiltered(stack, "PUT", f"/{bucket.name}/{key}", SEALING, b"text")
    assert done.status == 200
    assert readable(minio, bucket.name, key) != "text"


def test_an_upload_with_sealing_headers_stays_readable(part: Client, minio: Minio, bucket: Bucket, key: str) -> None:
    done = part.send("PUT", f"/{bucket.name}/{key}", body=b"text", signed={}, more=tuple(SEALING.items()))
    assert done.status == 200
    assert readable(minio, bucket.name, key) == "text"


def test_a_multipart_upload_begun_with_sealing_headers_stays_readable(
    part: Client, minio: Minio, bucket: Bucket, key: str
) -> None:
    target, more = f"/{bucket.name}/{key}", tuple(SEALING.items())
    begun = part.send("POST", f"{target}?uploads=", signed={}, more=more)
    assert begun.status == 200
    upload = re.search(rb"<UploadId>(.+?)</UploadId>", begun.body)
    assert upload is not None
    query = f"uploadId={upload[1].decode()}"
    sent = part.send("PUT", f"{target}?partNumber=1&{query}", body=b"text", signed={}, more=more)
    assert sent.status == 200
    whole = f"<Part><PartNumber>1</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{whole}</CompleteMultipartUpload>".encode()
    assert part.send("POST", f"{target}?{query}", body=body, signed={}, more=more).status == 200
    assert readable(minio, bucket.name, key) == "text"


def test_a_copy_with_sealing_headers_stays_readable(part: Client, minio: Minio, bucket: Bucket, key: str) -> None:
    assert part.send("PUT", f"/{bucket.name}/{key}", body=b"text", signed={}).status == 200
    copied = {"x-amz-copy-source": f"/{bucket.name}/{key}", "x-amz-metadata-directive": "REPLACE"}
    done = part.send("PUT", f"/{bucket.name}/{key}-copy", signed=copied, more=tuple(SEALING.items()))
    assert done.status == 200
    assert readable(minio, bucket.name, f"{key}-copy") == "text"


def test_a_signature_over_a_sealing_header_no_longer_fits(part: Client, minio: Minio, bucket: Bucket, key: str) -> None:
    done = part.send("PUT", f"/{bucket.name}/{key}", body=b"text", signed=SEALING)
    assert done.status in (400, 403)
    assert readable(minio, bucket.name, key) == "NoSuchKey"


def test_a_sealing_header_in_a_chunked_bodys_trailer_goes_no_further(
    part: Client, minio: Minio, bucket: Bucket, key: str
) -> None:
    signer = Minio(HOST, access_key=part.user, secret_key=part.password, secure=False, region="us-east-1")
    url = urlsplit(signer.presigned_put_object(bucket.name, key, expires=timedelta(minutes=1)))
    trailer = "".join(f"{name}: {value}\r\n" for name, value in SEALING.items())
    done = part.raw(
        f"PUT {url.path}?{url.query} HTTP/1.1",
        [("Host", HOST), ("Transfer-Encoding", "chunked"), ("Trailer", ", ".join(SEALING)), ("Connection", "close")],
        f"4\r\ntext\r\n0\r\n{trailer}\r\n".encode(),
    )
    assert done.status == 200
    assert readable(minio, bucket.name, key) == "text"


def names_in_minio(stack: Stack) -> set[str]:
    """Every name of such a header in the program that runs, with whatever text happens to follow it there."""
    process = docker.from_env().containers.get(stack.plan.container("minio").name).attrs["State"]["Pid"]
    program = Path(f"/proc/{process}/exe").read_bytes()
    assert len(program) > 10**7
    found = re.findall(rb"(?i)x-minio-(?:replication|source)-[a-z][a-z-]+", program)
    return {name.decode().lower() for name in found}


def names_stripped(stack: Stack) -> set[str]:
    part = stack.plan.container("s3")
    text = render(part.files[0], stack.plan, part)
    return {name.lower() for name in re.findall(r'proxy_set_header (\S+) "";', text)} - {"connection"}


def test_every_such_name_that_the_running_minio_knows_is_stripped(stack: Stack) -> None:
    known, stripped = names_in_minio(stack), names_stripped(stack)
    assert {name.lower() for name in SEALING} <= stripped
    assert len(known) > 10
    assert {name for name in known if not name.startswith(tuple(stripped))} == set()


def spellings(name: str) -> Iterator[str]:
    yield from (name, name.lower(), name.upper(), name.swapcase())


def test_no_stripped_name_arrives_at_minio_in_any_spelling(
    part: Client, stack: Stack, bucket: Bucket, key: str
) -> None:
    names = sorted(names_stripped(stack))
    target = f"/{bucket.name}/{key}"
    with traced(stack) as seen:
        for spelling in range(4):
            more = tuple((list(spellings(name.title()))[spelling], "planted") for name in names)
            # Twice over: once as first and once as last of two with the same name.
            assert part.send("PUT", target, body=b"text", signed={}, more=(*more, *more)).status == 200
        requests = [found for found in seen(target, 4) if found["method"] == "PUT"]
    assert len(requests) == 4
    arrived = {name.lower() for found in requests for name in found["headers"]}
    assert "x-amz-date" in arrived, "the trace shows no headers"
    assert not arrived & set(names)
    assert "planted" not in json.dumps(requests)


class traced:
    """Listens to what MinIO says it received, on the administrative socket."""

    def __init__(self, stack: Stack) -> None:
        self._answer = clients.unfiltered(stack, "GET", "/minio/admin/v3/trace?s3=true", wait=False)
        assert self._answer.status == 200, self._answer.read()
        self._found: list[dict[str, Any]] = []
        self._more = threading.Condition()

    def __enter__(self) -> Callable[[str, int], list[dict[str, Any]]]:
        threading.Thread(target=self._listen, daemon=True).start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def _listen(self) -> None:
        rest = b""
        try:
            while chunk := self._answer.read1(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                with self._more:
                    # Between them it sends blanks, to show that it still lives.
                    self._found += [json.loads(line)["http"]["request"] for line in lines if line.strip()]
                    self._more.notify_all()
        except Exception:  # it was closed under us
            return

    def _seen(self, path: str, count: int) -> list[dict[str, Any]]:
        """Requests for ``path``, once there are so many."""

        def those() -> list[dict[str, Any]]:
            return [request for request in self._found if request["path"] == path]

        with self._more:
            assert self._more.wait_for(lambda: len(those()) >= count, timeout=clients.PATIENCE)
            return those()


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
