"""The schema on the appliance's own Postgres, for all files of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest

from app.schema import migrate
from tests import tenants
from tests.persons import ADA, BEN, EVE, Link
from tests.postgres import DATABASE, SPARE, Server, server


@pytest.fixture(scope="package")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name = f"maia-test-schema-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    with server(tmp_path_factory.mktemp("pg"), name) as running:
        running.create(DATABASE)
        migrate.migrate(partial(running.connect, DATABASE), lambda _: None)
        running.create(SPARE, template=DATABASE)
        yield running


@pytest.fixture(scope="module")
def _link(postgres: Server) -> Iterator[Link]:
    with postgres.connect(DATABASE) as link:
        yield link


@pytest.fixture
def link(_link: Link) -> Iterator[Link]:
    """As superuser, in a transaction that is undone."""
    with _link.transaction(force_rollback=True):
        _link.execute("set local lock_timeout = '20s'")  # what another test holds is a fault, not a reason to wait
        yield _link


@pytest.fixture(scope="module")
def people(postgres: Server) -> Iterator[tenants.Catalogue]:
    """Two people with a row in every table, on a connection that is undone at the end."""
    with postgres.connect(DATABASE) as link:
        with link.transaction(force_rollback=True):
            tenants.strangers(link, EVE)
            found = tenants.Catalogue(link)
            found.fill(ADA, BEN)
            yield found
