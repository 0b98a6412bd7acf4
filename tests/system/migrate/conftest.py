"""A project with everything that real ones have, and the appliance's own Postgres."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest

from app.migrate import plan, source
from app.migrate.journal import Told
from app.migrate.plan import Plan
from app.migrate.scope import Selection
from app.schema import migrate
from infra.migrate import connect
from tests.postgres import Server, server
from tests.supabase.moving import copier
from tests.supabase.project import Project, project

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")


@pytest.fixture(scope="package")
def supabase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("from"), f"maia-test-from-{WORKER}") as running:
        yield running


@pytest.fixture(scope="package")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = "wal_level = logical\n"  # as the appliance's own has it
    with server(tmp_path_factory.mktemp("to"), f"maia-test-to-{WORKER}", settings=settings) as running:
        running.create("maia")
        migrate.migrate(partial(running.connect, "maia"), lambda _: None)
        running.create("bare", template="maia")
        yield running


@pytest.fixture(scope="package")
def planned(supabase: Project, appliance: Server) -> Plan:
    with connect(appliance.socket) as target:
        return plan.make(source.read(supabase.file), target, Selection(), None)


@pytest.fixture(scope="package")
def image(appliance: Server) -> str:
    return str(appliance.container.attrs["Image"])


@pytest.fixture
def fresh(appliance: Server, planned: Plan) -> Iterator[str]:
    """An appliance's database into which nothing was moved yet; the plan is of a server that has no roles yet."""
    appliance.drop("other")
    appliance.create("other", template="bare")
    yield "other"
    appliance.drop("other")


@pytest.fixture(scope="package")
def moved(supabase: Project, appliance: Server, planned: Plan, image: str) -> list[Told]:
    """What became of each object."""
    return copier(supabase, appliance, "maia", image).run()
