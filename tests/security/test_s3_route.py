"""The S3 route lets through what an app needs and nothing that MinIO trusts only its own kind with.

MinIO takes sealed keys and other metadata of its own from any client that names it ``X-Minio-Replication-*``
(GHSA-3rh2-v3gr-35p9, unfixed). Every way in is tried here, and that it is a way in is shown on the unfiltered socket.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from minio import Minio

from infra.render import render
from infra.stack import Stack
from tests import clients
from tests.clients import Bucket
from tests.security.routes import HOST, SEALING, Client, readable

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
