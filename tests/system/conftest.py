"""What tests of the running appliance's pages and queries share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from infra.plan import Plan
from tests import clients
from tests.conftest import Appliance


@pytest.fixture(scope="module")
def operator(appliance: Appliance) -> Iterator[httpx.Client]:
    """The gateway, asked with the operator's login."""
    with clients.operator(appliance) as client:
        yield client


@pytest.fixture
def plan(appliance: Appliance) -> Plan:
    """The plan of the running stack."""
    return appliance.stack.plan
