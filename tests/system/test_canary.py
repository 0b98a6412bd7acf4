"""What a client sealed is nowhere in the clear: not in data, WAL, logs, a dump, the archive or a restore."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import psycopg
import pytest
from psycopg.errors import CheckViolation

from tests import tenants
from tests.conftest import STORES, Appliance, small
from tests.persons import ADA, BEN, EVE, acting, token

CANARY = f"canary {secrets.token_hex(12)}".encode()
CONTROL = tenants.SAMPLES["prose"].encode()
"""What the same rows hold in the clear: where it is not found, looking proves nothing."""
SPELLINGS = {
    CANARY,
    CANARY.hex().encode(),
    CANARY.hex().upper().encode(),
    *(base64.b64encode(b"\0" * shift + CANARY)[4 : 4 + 4 * (len(CANARY) // 3 - 1)] for shift in range(3)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A stack with the canary sealed in every column that is for ciphertext, and a point of it."""
    with small(tmp_path_factory.mktemp("canary") / "site") as made:
        made.disable(*(set(STORES) - {"backup", "postgres"}), "prometheus", "status")
        made.write()
        made.maia("up", "--skip-checks")
        with connected(made) as link:
            tenants.strangers(link, EVE)
            tenants.Catalogue(link, content=CANARY).fill(ADA, BEN)
            link.commit()
            # Somebody's client forgets to seal.
            with acting(link, "authenticated", token(ADA)), pytest.raises(CheckViolation), link.transaction():
                link.execute("update maia.session_notes set content = %s", [CANARY * 3])
        with connected(made) as link:
            link.autocommit = True
            link.execute("checkpoint")
        made.maia("backup")
        yield made


def connected(made: Appliance) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(made.site.sockets(made.name) / "postgres"), user="postgres", dbname="maia")


def volume(made: Appliance, name: str) -> Path:
    return Path(docker.from_env().volumes.get(f"maia-{made.name}-{name}").attrs["Mountpoint"])


def found(folder: Path, *words: bytes) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files, folder
    return [path for path in files if any(word in content for content in (path.read_bytes(),) for word in words)]


def dump(made: Appliance, database: str) -> bytes:
    container = docker.from_env().containers.get(f"maia-{made.name}-postgres")
    done = container.exec_run(["pg_dump", "-h", "/run/postgresql", "-U", "postgres", database])
    assert done.exit_code == 0, done.output
    assert isinstance(done.output, bytes)
    return done.output


def test_it_is_not_in_the_data_nor_in_its_wal(made: Appliance) -> None:
    data = volume(made, "postgres-data") / "data"
    assert found(data / "base", CONTROL)
    assert found(data / "pg_wal", CONTROL)
    assert found(data, *SPELLINGS) == []


def test_it_is_not_in_a_log_though_it_was_refused_in_the_clear(made: Appliance) -> None:
    containers = docker.from_env().containers.list(all=True, filters={"label": f"maia.stack={made.name}"})
    logs = {str(each.name): each.logs() for each in containers}
    assert b'violates check constraint "sealed_check"' in logs[f"maia-{made.name}-postgres"]
    assert [name for name, log in logs.items() if any(word in log for word in SPELLINGS)] == []


def test_it_is_not_in_a_dump(made: Appliance) -> None:
    text = dump(made, "maia")
    assert CONTROL in text
    assert [word for word in SPELLINGS if word in text] == []


def test_it_is_not_in_the_archive_nor_in_what_is_restored_of_it(made: Appliance) -> None:
    archive = made.site.archive(made.name)
    assert found(archive, CONTROL, *SPELLINGS) == [], "it is encrypted once more there"
    said = made.maia("restore", "--database", "maia", "--as", "side").stdout
    assert "in 181 tables are what was in the point" in said
    assert "left out" not in said
    text = dump(made, "side")
    assert CONTROL in text
    assert [word for word in SPELLINGS if word in text] == []


def test_it_is_not_in_the_site_folder(made: Appliance) -> None:
    assert found(made.site.root, *SPELLINGS) == []
