"""Buckets, policies and users of the object store, over the S3 route's administrative socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.versioningconfig import VersioningConfig
from pulumi.dynamic import Resource

from infra import machine, place
from infra.components.dynamic import Properties, Provider
from infra.place import Place
from infra.unixhttp import SocketPool

TIMEOUT = 30
"""Seconds for one request."""


def _root(props: Properties) -> tuple[SocketPool, str, str]:
    """The socket, and the root credential that only this machine's root can read."""
    root = json.loads(Path(props["admin"]).read_text())
    path = place.of(props).socket(f"{props['socket']}/admin.sock")
    return SocketPool(path, TIMEOUT), root["user"], root["password"]


def administer(props: Properties) -> MinioAdmin:
    pool, user, password = _root(props)
    return MinioAdmin(endpoint="localhost", credentials=StaticProvider(user, password), secure=False, http_client=pool)


def objects(props: Properties) -> Minio:
    pool, user, password = _root(props)
    return Minio("localhost", access_key=user, secret_key=password, secure=False, http_client=pool, region="us-east-1")


def policy(buckets: list[str]) -> dict[str, Any]:
    """Read, write and list in ``buckets``, and nothing else; no bucket is made or removed with it."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": [f"arn:aws:s3:::{bucket}" for bucket in buckets],
            },
            {
                "Effect": "Allow",
                "Action": [
                    *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject"),
                    *("s3:ListMultipartUploadParts", "s3:PutObject"),
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/*" for bucket in buckets],
            },
        ],
    }


def _statements(document: dict[str, Any]) -> str:
    """A policy in one form, whatever order the server keeps it in."""
    return json.dumps(
        [
            {key: sorted(value) if isinstance(value, list) else value for key, value in sorted(statement.items())}
            for statement in document.get("Statement", ())
        ],
        sort_keys=True,
    )


class _Inside(Provider):
    def away(self, props: Properties) -> bool:
        path, at = f"{props['socket']}/admin.sock", place.of(props)
        if not at.call(machine.listens, path):
            return True
        answer = SocketPool(at.socket(path), TIMEOUT).request(
            "GET", "http://localhost/minio/health/live", retries=False
        )
        return answer.status >= 500  # the route's own, when nobody is behind it


class BucketProvider(_Inside):
    replaces = ("bucket",)
    ignores = ("socket", "admin")

    def identity(self, props: Properties) -> str:
        return str(props["bucket"])

    def ensure(self, props: Properties) -> Properties:
        client = objects(props)
        if not client.bucket_exists(props["bucket"]):
            client.make_bucket(props["bucket"])
        if props["versioned"]:
            client.set_bucket_versioning(props["bucket"], VersioningConfig(ENABLED))
        return {}

    def observe(self, props: Properties) -> Properties | None:
        client = objects(props)
        if not client.bucket_exists(props["bucket"]):
            return None
        return {"versioned": client.get_bucket_versioning(props["bucket"]).status == ENABLED}

    def remove(self, props: Properties) -> None:
        """Nothing is removed: data outlives the part."""


class PolicyProvider(_Inside):
    replaces = ("policy",)
    ignores = ("socket", "admin")

    def identity(self, props: Properties) -> str:
        return str(props["policy"])

    def ensure(self, props: Properties) -> Properties:
        administer(props).policy_add(props["policy"], policy=json.loads(props["document"]))
        return {}

    def observe(self, props: Properties) -> Properties | None:
        try:
            found = json.loads(administer(props).policy_info(props["policy"]))
        except MinioAdminException:
            return None
        document = found.get("Policy", found)
        same = _statements(document) == _statements(json.loads(props["document"]))
        return {} if same else {"document": json.dumps(document, sort_keys=True)}

    def remove(self, props: Properties) -> None:
        try:
            administer(props).policy_remove(props["policy"])
        except MinioAdminException as error:
            if "XMinioAdminNoSuchPolicy" not in str(error):
                raise


class LoginProvider(_Inside):
    replaces = ("login",)
    ignores = ("socket", "admin")
    lingers = 2.0

    def identity(self, props: Properties) -> str:
        return str(props["login"])

    def ensure(self, props: Properties) -> Properties:
        admin = administer(props)
        admin.user_add(props["login"], props["password"])
        admin.policy_set(props["policy"], user=props["login"])
        return {}

    def observe(self, props: Properties) -> Properties | None:
        try:
            found = json.loads(administer(props).user_info(props["login"]))
        except MinioAdminException:
            return None
        return {"policy": found.get("policyName", "")} if found.get("status") == "enabled" else None

    def remove(self, props: Properties) -> None:
        try:
            administer(props).user_remove(props["login"])
        except MinioAdminException as error:
            if "XMinioAdminNoSuchUser" not in str(error):
                raise


class Bucket(Resource, module="maia", name="Bucket"):
    """A bucket; kept with its objects when its part is removed."""

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        admin: str,
        bucket: str,
        versioned: bool,
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"socket": socket, "admin": admin, "bucket": bucket, "versioned": versioned, **at.inputs}
        super().__init__(BucketProvider(), name, props, opts)


class Policy(Resource, module="maia", name="BucketPolicy"):
    """What a part's user may do, as a canned policy of its own."""

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        admin: str,
        policy_name: str,
        buckets: list[str],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        document = json.dumps(policy(buckets), sort_keys=True)
        props = {"socket": socket, "admin": admin, "policy": policy_name, "document": document, **at.inputs}
        super().__init__(PolicyProvider(), name, props, opts)


class StoreLogin(Resource, module="maia", name="StoreLogin"):
    """A part's S3 user. A new secret means a new user first, and the old one gone last."""

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        admin: str,
        policy_name: str,
        login: pulumi.Input[str],
        password: pulumi.Input[str],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"socket": socket, "admin": admin, "policy": policy_name, "login": login, "password": password}
        props |= at.inputs
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        super().__init__(LoginProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))
