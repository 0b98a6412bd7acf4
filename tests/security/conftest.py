"""What tests of the gateway and of the S3 route share."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from infra.catalog.model import Zone
from infra.components import store
from infra.stack import Stack
from tests import clients
from tests.clients import Bucket, Visitor
from tests.conftest import Appliance
from tests.security import doors
from tests.security.doors import Door
from tests.security.routes import Client


@pytest.fixture(scope="module")
def door(appliance: Appliance) -> Door:
    """The running appliance's gateway."""
    return doors.real(appliance)


@pytest.fixture(scope="module")
def mirror(appliance: Appliance) -> Iterator[Door]:
    """A copy of it that repeats what it heard."""
    with doors.copied(appliance) as made:
        yield made


@pytest.fixture(scope="module")
def visitor(stack: Stack) -> Iterator[Visitor]:
    with clients.visitor(stack, Zone.DATA) as made:
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
