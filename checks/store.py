"""The object store as this machine's root reaches it: over the S3 route's administrative socket."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import S3Error

from infra.place import HERE, Place
from infra.plan import Plan
from infra.site import Site
from infra.unixhttp import SocketPool

TIMEOUT = 10
"""Seconds for one request."""
PREFIX = "maia-check-"
"""Buckets of the checks, each gone when its run ends."""
STALE = timedelta(hours=1)
"""Age at which one of a run that was killed is removed."""
OBJECT = "sealed"
SEALING = {
    "X-Minio-Replication-Server-Side-Encryption-Iv": "A" * 44,
    "X-Minio-Replication-Server-Side-Encryption-Seal-Algorithm": "DAREv2-HMAC-SHA256",
    "X-Minio-Replication-Server-Side-Encryption-Sealed-Key": "A" * 88,
}
"""With these, an object becomes one that nobody can read (GHSA-3rh2-v3gr-35p9)."""


class Store:
    """The store of one stack."""

    def __init__(self, plan: Plan, site: Site, at: Place = HERE) -> None:
        self._bucket = PREFIX + secrets.token_hex(8)
        self._socket = SocketPool(
            at.socket(str(at.home(site, plan.stack).sockets(plan.stack) / "s3" / "admin.sock")), TIMEOUT
        )
        root = json.loads((site.files(plan.stack) / "administrators" / "minio").read_text())
        self._user, self._password = root["user"], root["password"]

    def objects(self, user: str = "", password: str = "") -> Minio:
        """As root, or as ``user``."""
        return Minio(
            "localhost",
            access_key=user or self._user,
            secret_key=password or self._password,
            secure=False,
            http_client=self._socket,
            region="us-east-1",
        )

    @property
    def admin(self) -> MinioAdmin:
        provider = StaticProvider(self._user, self._password)
        return MinioAdmin(endpoint="localhost", credentials=provider, secure=False, http_client=self._socket)

    def sealing_request(self, host: str) -> bytes:
        """A signed upload through the S3 route at ``host`` with headers that it must take out."""
        self.objects().make_bucket(self._bucket)
        signer = Minio(host, access_key=self._user, secret_key=self._password, secure=False, region="us-east-1")
        url = signer.presigned_put_object(self._bucket, OBJECT, expires=timedelta(minutes=1))
        lines = [f"PUT {url.removeprefix(f'http://{host}')} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in SEALING.items()]
        return "\r\n".join([*lines, "Content-Length: 4", "", "maia"]).encode()

    def read_back(self) -> str:
        """What became of that upload."""
        try:
            with self.objects().get_object(self._bucket, OBJECT) as answer:
                return answer.data.decode()
        except S3Error as error:
            return str(error.code)

    def buckets(self) -> set[str]:
        """Those of the parts."""
        return {bucket.name for bucket in self.objects().list_buckets() if not bucket.name.startswith(PREFIX)}

    def tidy(self) -> None:
        """Remove what this run made, and what one that was killed has left."""
        client = self.objects()
        before = datetime.now(UTC) - STALE
        for bucket in client.list_buckets():
            old = bucket.creation_date is not None and bucket.creation_date < before
            if bucket.name == self._bucket or (bucket.name.startswith(PREFIX) and old):
                client.remove_object(bucket.name, OBJECT)
                client.remove_bucket(bucket.name)
