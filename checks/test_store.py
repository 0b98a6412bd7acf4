"""The object store is reached through its route only, which lets through what it should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from minio.error import S3Error

from checks.plugin import Case, Expect, cases
from checks.probing import Probes
from checks.store import Store
from infra.plan import Plan, StoreUser

DEFAULTS = (("minioadmin", "minioadmin"), ("minio", "minio123"))
READ_WRITE = {
    *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"),
    *("s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts", "s3:PutObject"),
}
"""The most that the policy of a part may allow."""


@cases(
    lambda plan: (
        [Case(rule, "s3") for rule in ("anonymous", "admin-hidden", "replication-query", "replication-headers")]
        if plan.has("s3")
        else []
    )
)
def test_s3_route(case: Case, probes: Probes, store: Store, expect: Expect) -> None:
    if case.rule == "replication-headers":
        # Sealed by those headers, it could not be read back.
        return expect((_status(probes.talk("s3-sealing").text), store.read_back()), ("200", "maia"))
    text = probes.talk(f"s3-{case.rule}").text
    by_route = "x-amz-request-id" not in text.lower()
    wanted = {"anonymous": ("403", False), "replication-query": ("400", True)}.get(case.rule, ("403", True))
    return expect((_status(text), by_route), wanted)


def _status(answer: str) -> str:
    return " ".join(answer.partition("\r\n")[0].split(" ")[1:2])


@cases(
    lambda plan: (
        [Case(rule, "minio") for rule in ("default-credentials", "users", "buckets", "private")]
        if plan.has("minio")
        else []
    )
)
def test_store(case: Case, plan: Plan, store: Store, expect: Expect) -> None:
    if case.rule == "default-credentials":
        return expect(
            {user: _refusal(store, user, password) for user, password in DEFAULTS},
            dict.fromkeys(dict(DEFAULTS), "InvalidAccessKeyId"),
        )
    if case.rule == "users":
        found = {name.rpartition("-")[0] for name in json.loads(store.admin.user_list())}
        return expect(found, {user.user for user in plan.store_users})
    names = store.buckets()
    if case.rule == "buckets":
        missing = {bucket.name for user in plan.store_users for bucket in user.buckets} - names
        return expect(missing, set())
    return expect({name for name in names if _public(store, name)}, set())


@cases(lambda plan: [Case("policy", user.user, user) for user in plan.store_users] if plan.has("minio") else [])
def test_store_user(case: Case, store: Store, expect: Expect) -> None:
    """A part's policy reaches its own buckets, with no more than reading and writing."""
    user: StoreUser = case.subject
    found = json.loads(store.admin.policy_info(user.user))
    statements: list[dict[str, Any]] = found.get("Policy", found)["Statement"]
    own = {f"arn:aws:s3:::{bucket.name}{suffix}" for bucket in user.buckets for suffix in ("", "/*")}
    beyond = {resource for each in statements for resource in each["Resource"]} - own
    actions = {action for each in statements for action in each["Action"]} - READ_WRITE
    expect({"resources": beyond, "actions": actions}, {"resources": set(), "actions": set()})


def _refusal(store: Store, user: str, password: str) -> str:
    try:
        store.objects(user, password).list_buckets()
    except S3Error as error:
        return str(error.code)
    return "let in"


def _public(store: Store, bucket: str) -> bool:
    try:
        return bool(store.objects().get_bucket_policy(bucket))
    except S3Error as error:
        if error.code == "NoSuchBucketPolicy":
            return False
        pytest.fail(f"{bucket}: {error.code}", pytrace=False)
