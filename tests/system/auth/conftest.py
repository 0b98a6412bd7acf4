"""The auth service of the shared appliance, turned on for this folder's tests and off again after them.

``MAIA_AUTH`` may name a file that tells of one that runs already, for whoever works on the service: JSON with
``origin``, ``anon``, ``service``, ``keys`` (a path), ``database`` and ``redis`` (addresses for administrators).
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.auth import part
from tests.system.auth.service import Service

FOLDER = Path(__file__).parent


class Part:
    """The service while it is on."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._service: Service | None = None

    def service(self, request: pytest.FixtureRequest) -> Service:
        if self._service is None:
            if told := os.environ.get("MAIA_AUTH"):
                made = part.given(json.loads(Path(told).read_text()))
            else:
                made = part.on(request.getfixturevalue("appliance"), part.SETTINGS)
            self._service = self._stack.enter_context(made)
        return self._service

    def off(self) -> None:
        self._service = None
        self._stack.close()


PART = Part()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Service:
    """The service, asked through the gateway."""
    return PART.service(request)


@pytest.fixture
def token(service: Service) -> str:
    """Somebody's access token."""
    return service.session(service.person()).access


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Turn it off before the tests of another folder, or before the appliance goes."""
    if nextitem is None or FOLDER not in nextitem.path.parents:
        PART.off()
