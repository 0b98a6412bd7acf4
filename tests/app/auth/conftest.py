"""The auth service beside a real Postgres and Redis, for all files of this folder."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import docker
import pytest

from app.schema import migrate, parts
from infra.images import build, store
from tests.app.auth.service import Place, Running, new_signing_key, running
from tests.postgres import DATABASE, Server, server
from tests.system.mutations import until

ROLE = "auth_test"
REDIS = 702


@pytest.fixture(scope="package")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name = f"maia-test-auth-postgres-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    with server(tmp_path_factory.mktemp("pg"), name, map_to=ROLE) as started:
        started.create(DATABASE)
        migrate.migrate(partial(started.connect, DATABASE), lambda _: None)
        with started.connect(DATABASE) as link:
            parts.apply(link, "auth")
            link.execute(f"create role {ROLE} login in role maia_auth".encode())
        yield started


@pytest.fixture(scope="package")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Redis answers on port 6379, to the user ``auth`` with the commands and keys of the part."""
    from infra.catalog.auth import COMMANDS

    folder = tmp_path_factory.mktemp("redis")
    rules = " ".join(COMMANDS)
    (folder / "users.acl").write_text(
        f"user default off\nuser admin on >admin ~* &* +@all\nuser auth on >auth ~auth:* {rules}\n"
    )
    (folder / "redis.conf").write_text(
        'port 6379\nbind 0.0.0.0\nprotected-mode no\nsave ""\naclfile /etc/maia/users.acl\n'
    )
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, REDIS, REDIS)
    client = docker.from_env()
    found = store.lookup("redis") or build.build(["redis"], print)["redis"]
    store.load(client, found)
    name = f"maia-test-auth-redis-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    for left in client.containers.list(all=True, filters={"name": f"^{name}$"}):
        left.remove(force=True, v=True)
    started = client.containers.run(found.id, detach=True, name=name, volumes=[f"{folder}:/etc/maia:ro"])
    try:
        until(lambda: b"Ready to accept" in started.logs(), "it answers", patience=60)
        started.reload()
        yield next(iter(started.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    finally:
        started.remove(force=True, v=True)


@pytest.fixture(scope="package")
def place(postgres: Server, redis_address: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Files as the part gets them."""
    folder = tmp_path_factory.mktemp("auth")
    api = secrets.token_bytes(32)
    keys = {
        "signing": [new_signing_key()],
        "api": {"kty": "oct", "alg": "HS256", "kid": "api", "k": base64.urlsafe_b64encode(api).decode().rstrip("=")},
        "sealing": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    _write(folder / "keys.json", keys)
    url = f"postgresql://{ROLE}@/{DATABASE}?host={postgres.socket}"
    _write(folder / "postgres.json", {"url": url, "user": ROLE, "database": DATABASE})
    told = {"host": redis_address, "port": 6379, "user": "auth", "password": "auth", "prefix": "auth:"}
    _write(folder / "redis.json", told)
    return Place(folder=folder, postgres=postgres, redis=redis_address, keys=keys, api=api)


@pytest.fixture(scope="package")
def auth(place: Place) -> Iterator[Running]:
    """A service where addresses need no confirmation."""
    with running(place, autoconfirm=True) as started:
        yield started


@pytest.fixture(scope="package")
def mailing(place: Place) -> Iterator[Running]:
    """A service that confirms addresses by mail."""
    with running(place) as started:
        yield started


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))
