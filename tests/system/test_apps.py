"""An app of the owner's own is a part like any other: a real Node server, from its archive to its removal."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.errors import ImageNotFound

from checks.reader import machine_addresses
from infra import owner
from infra.components import cache, database, store
from infra.images import build
from infra.images import store as images
from tests import clients
from tests.conftest import Appliance

SOURCE = Path(__file__).parent / "webapp"
PATIENCE = 120
"""Seconds for what the appliance does by itself, such as a probe."""
FILE = bytes(range(256)) * 64
MADE = {
    *("Part web", "Container web", "Started web-started", "Files web-config", "Files web-secrets"),
    *("PostgresRole web-role", "PostgresLogin web-login", "RedisUser web-redis-user"),
    *("Bucket web-files-bucket", "BucketPolicy web-policy", "StoreLogin web-store-login"),
    *("Container web-migrate", "Finished web-migrated", "Trial web-trial"),
}
"""What an app with all needs and a migration amounts to."""
MENTION = {"gateway", "prometheus"}
"""The parts that read only when they start what names each app."""
REACH = """
const attempt = ([host, port]) => new Promise((done) => {
  const link = require('net').connect({ host, port, timeout: 3000 })
  const end = (reached) => { link.destroy(); done(reached ? [`${host}:${port}`] : []) }
  link.on('connect', () => end(true)).on('error', () => end(false)).on('timeout', () => end(false))
})
Promise.all(JSON.parse(process.argv[1]).map(attempt)).then((found) => console.log(JSON.stringify(found.flat())))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The app's image as ``docker save`` writes it; Docker itself has forgotten it."""
    context = tmp_path_factory.mktemp("webapp")
    shutil.copytree(SOURCE, context, dirs_exist_ok=True)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=context, check=True, timeout=300)
    base = build.build(["node"], print)["node"]
    client = docker.from_env()
    images.load(client, base)
    image, _ = client.images.build(path=str(context), buildargs={"BASE": base.tag}, tag="maia-test/notes:1", rm=True)
    path = tmp_path_factory.mktemp("archive") / "notes.tar"
    with path.open("wb") as file:
        file.writelines(image.save(named=True))
    client.images.remove("maia-test/notes:1")
    with pytest.raises(ImageNotFound):
        client.images.get(str(image.id))
    yield path
    for name in ("maia-test/notes:1", str(image.id)):
        with suppress(ImageNotFound):
            client.images.remove(name, force=True)


@dataclass
class Web:
    """The app on a running appliance."""

    appliance: Appliance
    archive: Path
    before: dict[str, str]
    """The resources before there was an app."""
    visits: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        trusted = ssl.create_default_context(cafile=self.appliance.ca)
        self.visits = httpx.Client(base_url=f"{self.appliance.url}/web", verify=trusted, trust_env=False, timeout=30)

    def write(self, **changes: Any) -> None:
        app = {
            "archive": str(self.archive),
            "user": "713:713",
            "port": 3000,
            "route": {"path": "/web/"},
            "health": "/healthz",
            "memory": 256,
            "env": {"BASE_PATH": "/web"},
            "needs": {"database": True, "bucket": True, "redis": True, "extensions": ["vector"]},
            "migrate": ["node", "migrate.js"],
        }
        self.appliance.write({"apps": {"web": app | changes}})

    def up(self, *arguments: str, **changes: Any) -> str:
        """Bring the appliance to have the app with these changes; without checks, unless they are asked for."""
        self.write(**changes)
        return self.appliance.maia("up", *(arguments or ("--skip-checks",))).stdout

    def remove(self) -> None:
        self.appliance.write({"apps": {}})
        self.appliance.maia("up", "--skip-checks")

    def forget(self) -> None:
        """Remove the data that outlives the app."""
        stack = self.appliance.stack
        with database.administer(str(stack.site.sockets(stack.name) / "postgres")) as link:
            link.execute("drop database if exists web with (force)")
            link.execute("drop role if exists web")
        gone = clients.unfiltered(stack, "DELETE", "/web-files", {"x-minio-force-delete": "true"})
        assert gone.status in (204, 404)
        admin = str(stack.site.files(stack.name) / "administrators" / "redis")
        cache.administer({"socket": str(stack.site.sockets(stack.name) / "redis"), "admin": admin}).delete("web:count")


@pytest.fixture(scope="module")
def web(appliance: Appliance, archive: Path) -> Iterator[Web]:
    """The appliance with the app, its database URL in a variable; without it afterwards."""
    web = Web(appliance, archive, resources(appliance))
    web.forget()
    web.up(wire={"DATABASE_URL": "database-url"})
    with web.visits:
        yield web
    web.remove()
    web.forget()


def resources(appliance: Appliance) -> dict[str, str]:
    """Kind and name of every resource in the state, with its id."""
    document = json.loads((appliance.site.state / ".pulumi/stacks/maia" / f"{appliance.name}.json").read_text())
    return {
        f"{each['type'].rpartition(':')[2]} {each['urn'].rpartition('::')[2]}": each.get("id", "")
        for each in document["checkpoint"]["latest"]["resources"]
    }


def replaced(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The containers that are others now."""
    return {
        name.removeprefix("Container ")
        for name, id_ in before.items()
        if name.startswith("Container ") and after.get(name) != id_
    }


def test_an_app_makes_what_it_needs_and_touches_only_the_parts_that_name_it(web: Web) -> None:
    after = resources(web.appliance)
    assert after.keys() - web.before.keys() == MADE
    assert not web.before.keys() - after.keys()
    assert replaced(web.before, after) == MENTION


def test_its_image_comes_from_the_archive(web: Web) -> None:
    expected = owner.archived(web.archive, where="test")
    assert docker.from_env().containers.get(f"maia-{web.appliance.name}-web").attrs["Image"] == expected


def test_it_keeps_notes_files_and_counts_behind_the_gateway(web: Web) -> None:
    note = web.visits.post("/notes", content="milk").json()
    assert note["text"] == "milk"
    assert note["login"].startswith("web_"), "a login of its own"
    assert {"id": note["id"], "text": "milk"} in web.visits.get("/notes").json()
    assert web.visits.put("/files/every-byte", content=FILE).status_code == 201
    assert web.visits.get("/files/every-byte").content == FILE
    assert web.visits.get("/files/nothing").status_code == 404
    first = web.visits.post("/count").json()["count"]
    assert web.visits.post("/count").json()["count"] == first + 1


def test_its_migration_ran_and_found_the_extension(web: Web) -> None:
    stack = web.appliance.stack
    with database.administer(str(stack.site.sockets(stack.name) / "postgres"), "web") as link:
        column = link.execute(
            "select udt_name, tableowner from information_schema.columns join pg_tables on tablename = table_name"
            " where table_name = 'notes' and column_name = 'embedding'"
        )
        assert column.fetchone() == ("vector", "web"), "owned by the role that outlives each login"
    assert "migrated" in web.appliance.maia("logs", "web", "--migration").stdout


def test_prometheus_probes_its_health_path(web: Web) -> None:
    question = {"query": 'probe_success{part="web"}'}
    found: list[dict[str, Any]] = []
    with clients.operator(web.appliance) as operator:

        def well() -> bool:
            found[:] = operator.get("/ops/prometheus/api/v1/query", params=question).json()["data"]["result"]
            return [each["value"][1] for each in found] == ["1"]

        wait(well)
    assert found[0]["metric"]["instance"].endswith(":3000/healthz")
    assert found[0]["metric"]["module"] == "http_2xx"


def test_it_has_no_way_out(web: Web) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        places = [("postgres", 5432), *((address, port) for address in machine_addresses()), ("example.org", 443)]
        container = docker.from_env().containers.get(f"maia-{web.appliance.name}-web")
        answer = container.exec_run(["node", "-e", REACH, json.dumps(places)])
    assert isinstance(answer.output, bytes)
    assert json.loads(answer.output) == ["postgres:5432"]


def test_up_again_changes_nothing_and_verifies_it(web: Web) -> None:
    before = resources(web.appliance)
    said = web.appliance.maia("up").stdout
    assert "changes: none" in said
    assert " failed" not in said
    assert resources(web.appliance) == before
    shown = web.appliance.maia("check", "--all", "-k", "deviations or secrets").stdout
    assert "web: env DATABASE_URL" in shown


def test_a_credential_in_a_variable_is_nowhere_in_plain_text(web: Web) -> None:
    url = docker.from_env().containers.get(f"maia-{web.appliance.name}-web").attrs["Config"]["Env"]
    password = next(each for each in url if each.startswith("DATABASE_URL=")).split(":")[2].partition("@")[0]
    state = web.appliance.site.state
    texts = [path.read_text(errors="replace") for path in state.rglob("*.json*")]
    assert texts
    assert not [text for text in texts if password in text]


def test_status_and_logs_show_it(web: Web) -> None:
    said = json.loads(web.appliance.maia("status", "--json").stdout)
    (part,) = (part for part in said["parts"] if part["part"] == "web")
    assert part["well"]
    assert "web " in web.appliance.maia("status").stdout
    assert "listens on 3000" in web.appliance.maia("logs", "web").stdout


def test_a_failing_migration_leaves_the_old_version_serving(web: Web) -> None:
    web.up()
    before = resources(web.appliance)
    web.write(env={"BASE_PATH": "/web", "VERSION": "broken"})
    failed = web.appliance.maia("up", "--skip-checks", check=False)
    assert failed.returncode
    told = failed.stderr.strip().splitlines()[-1]
    assert 'relation "no_such_table" does not exist' in told
    assert "what ran before still runs" in told
    assert told.endswith("(maia logs web --migration)")
    assert resources(web.appliance)["Container web"] == before["Container web"]
    assert web.visits.get("/healthz").json()["version"] == "1"
    again = web.appliance.maia("up", "--skip-checks", check=False)
    assert again.returncode, "it is run again, not taken for done"
    web.up(env={"BASE_PATH": "/web", "VERSION": "2"})
    assert web.visits.get("/healthz").json()["version"] == "2"


def test_credentials_are_rotated_without_a_failed_request(web: Web) -> None:
    web.up()
    before, login = resources(web.appliance), web.visits.post("/notes", content="before").json()["login"]
    failures: list[str] = []
    asked = dict.fromkeys(("/notes", "/count", "/files/rotation"), 0)
    over = threading.Event()

    def ask(method: str, path: str) -> None:
        while not over.is_set():
            try:
                answer = web.visits.request(method, path, content=b"x")
            except httpx.HTTPError as error:
                failures.append(f"{path} {error!r}")
                continue
            asked[path] += 1
            if not answer.is_success:
                failures.append(f"{path} {answer.status_code} {answer.text}")

    asking = [threading.Thread(target=ask, args=("PUT" if "files" in path else "POST", path)) for path in asked]
    for thread in asking:
        thread.start()
    try:
        for name in ("web-postgres", "web-redis", "web-s3"):
            so_far = dict(asked)
            web.appliance.maia("secrets", "rotate", name)
            assert all(asked[path] > so_far[path] for path in asked), failures
    finally:
        over.set()
        for thread in asking:
            thread.join()
    assert not failures
    after = resources(web.appliance)
    assert replaced(before, after) == set(), "its credential files are live"
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"PostgresLogin web-login", "RedisUser web-redis-user", "StoreLogin web-store-login"}
    assert web.visits.post("/notes", content="after").json()["login"] != login


def test_removing_it_keeps_its_data_and_nothing_else(web: Web) -> None:
    web.up()
    web.visits.post("/notes", content="kept")
    web.visits.put("/files/kept", content=FILE)
    web.remove()
    stack, name = web.appliance.stack, web.appliance.name
    assert set(resources(web.appliance)) == set(web.before)
    assert not docker.from_env().containers.list(all=True, filters={"name": f"maia-{name}-web"})
    assert not (stack.site.files(name) / "web" / "secrets").exists()
    assert web.visits.get("/healthz").status_code == 404
    with database.administer(str(stack.site.sockets(name) / "postgres")) as link:
        roles = link.execute("select rolname, rolcanlogin from pg_roles where rolname ~ '^web(_|$)'").fetchall()
        assert roles == [("web", False)]
    files = stack.site.files(name)
    redis = cache.administer(
        {"socket": str(stack.site.sockets(name) / "redis"), "admin": str(files / "administrators" / "redis")}
    )
    assert "web" not in redis.acl_users()
    admin = store.administer(clients.administration(stack.site, name))
    assert not [user for user in json.loads(admin.user_list()) if user.startswith("web-")]
    assert "web" not in json.loads(admin.policy_list())

    web.up()
    assert "kept" in [note["text"] for note in web.visits.get("/notes").json()]
    assert web.visits.get("/files/kept").content == FILE


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"archive": "/nowhere/notes.tar"}, "maia:apps.web.archive: /nowhere/notes.tar does not exist"),
        ({"archive": __file__}, f"maia:apps.web.archive: {__file__} is no docker archive"),
        ({"image": f"sha256:{'0' * 64}"}, f"maia:apps.web.image: no image sha256:{'0' * 64}"),
        ({"image": f"127.0.0.1:1/notes@sha256:{'0' * 64}"}, "maia:apps.web.image: 127.0.0.1:1/notes@sha256"),
        ({"needs": {"bucket": True}, "wire": {"REDIS_URL": "redis-url"}}, "wire.REDIS_URL asks for redis-url"),
        ({"needs": {"extensions": ["vector"]}}, "needs.extensions asks for extensions of a database"),
    ],
)
def test_an_app_that_cannot_be_had_is_told_in_one_line_and_changes_nothing(
    web: Web, source: dict[str, Any], says: str
) -> None:
    before = resources(web.appliance)
    web.write(**({"archive": None} if "image" in source else {}) | source)
    refused = web.appliance.maia("up", check=False)
    web.write()
    assert refused.returncode
    last = refused.stderr.strip().splitlines()[-1]
    assert says in last
    assert last.endswith(")"), "with the mend"
    assert "Traceback" not in refused.stderr
    assert resources(web.appliance) == before


def wait(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"not within {PATIENCE} s"
        time.sleep(1)
