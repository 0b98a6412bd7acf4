"""Clients of the S3 route that say anything at all, and the headers that MinIO trusts too much."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from minio import Minio
from minio.error import S3Error

from tests import clients
from tests.clients import Visitor

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


def readable(minio: Minio, bucket: str, key: str) -> str:
    """The object's text, or why there is none."""
    try:
        with minio.get_object(bucket, key) as found:
            return str(found.read().decode())
    except S3Error as error:
        return str(error.code)
