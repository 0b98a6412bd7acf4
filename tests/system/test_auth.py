"""The part auth in a stack of its own: met through the gateway, robbed of its cache, given new keys, off and on."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import jwt
import psycopg
import pytest
import yaml

import checks
from infra import signing
from infra.catalog import auth
from infra.cli import common
from tests.conftest import Appliance, small
from tests.system.mutations import Change, World, edited, replacing, sql, until

ABSENT = ("minio", "s3", "backup", "postgres-exporter", "redis-exporter")
ADA, PASSWORD = "ada@example.org", "four words nobody guesses"
NGINX = "config/nginx.conf"


@dataclass(frozen=True)
class Client:
    """What a client of Supabase says to the service."""

    http: httpx.Client
    key: str

    def send(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> httpx.Response:
        said = {"apikey": self.key} | ({"Authorization": f"Bearer {token}"} if token else {}) | headers
        return self.http.request(method, f"/auth/v1{path}", json=body, headers=said)

    def sign_up(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.send("POST", "/signup", {"email": email, "password": password})

    def sign_in(self, email: str = ADA, password: str = PASSWORD) -> dict[str, Any]:
        found = self.send("POST", "/token?grant_type=password", {"email": email, "password": password})
        assert found.status_code == 200, found.text
        session: dict[str, Any] = found.json()
        return session

    def refresh(self, session: dict[str, Any]) -> httpx.Response:
        return self.send("POST", "/token?grant_type=refresh_token", {"refresh_token": session["refresh_token"]})

    def user(self, session: dict[str, Any]) -> httpx.Response:
        return self.send("GET", "/user", token=session["access_token"])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack with the part; that `up` ends well says that its checks are green."""
    with small(tmp_path_factory.mktemp("auth") / "site") as made:
        made.disable(*ABSENT)
        made.values["parts"]["auth"] = {"enabled": True}
        made.write({"auth": {"bcrypt_cost": 10, "autoconfirm": True}})
        made.maia("up")
        yield made


@pytest.fixture(scope="module")
def client(own: Appliance) -> Iterator[Client]:
    """With the key for everybody; Ada has an account."""
    trusted = ssl.create_default_context(cafile=own.ca)
    with httpx.Client(base_url=own.url, verify=trusted, trust_env=False, timeout=30) as http:
        made = Client(http, own.maia("auth", "apikey", "anon").stdout.strip())
        found = made.sign_up(ADA)
        assert found.status_code == 200, found.text
        yield made


@pytest.fixture(scope="module")
def world(own: Appliance) -> World:
    return World(own.stack, common.engine(own.stack, lambda _: None).secrets())


def red(world: World) -> set[str]:
    result = checks.run(world.stack, say=lambda _: None, secrets=world.secrets, keyword="test_auth or accounts")
    assert result.rows
    return {row.check for row in result.failed}


def within(world: World, script: str) -> list[str]:
    """The words that a script says in the part's container."""
    output = world.container("auth").exec_run(["python3", "-c", script]).output
    assert isinstance(output, bytes)
    return output.decode().split()


# -- in the stack -----------------------------------------------------------------------------------------------------


def test_it_is_well_measured_and_changes_nothing_when_brought_up_again(own: Appliance) -> None:
    states = {part["part"]: part["health"] for part in json.loads(own.maia("status", "--json").stdout)["parts"]}
    assert states["auth"] == "healthy"
    assert "nothing to change" in own.maia("preview").stdout
    assert own.maia("db", "diff").stdout == "the same\n"


def test_one_signs_up_signs_in_and_is_known_through_the_gateway(client: Client, own: Appliance) -> None:
    session = client.sign_in()
    told = client.user(session)
    assert (told.status_code, told.json()["email"]) == (200, ADA)
    keys = client.http.get("/auth/v1/.well-known/jwks.json").json()["keys"]
    public = jwt.PyJWK(
        next(key for key in keys if key["kid"] == jwt.get_unverified_header(session["access_token"])["kid"])
    )
    claims = jwt.decode(
        session["access_token"], public.key, ["ES256"], audience="authenticated", issuer=f"{own.url}/auth/v1"
    )
    assert claims["sub"] == told.json()["id"]
    assert client.refresh(session).status_code == 200


def test_the_gateway_hides_the_metrics_and_the_service_refuses_who_has_no_key(client: Client, world: World) -> None:
    for path in ("/metrics", "/metrics/", "/%6detrics", "//metrics", "/./metrics", "/x/../metrics", "/metrics?x"):
        assert client.http.get(f"/auth/v1{path}").status_code == 404, path
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    assert "maia_auth_request_seconds_count" in "".join(within(world, ask))
    other = signing.minted(secrets.token_urlsafe(24), "service_role")
    for key in ("", "unknown", other, client.key[:-2]):
        assert client.send("GET", "/user", apikey=key).status_code == 401, key
    # An API key says which client asks, not who.
    assert client.send("GET", "/user", token=client.key).status_code in (401, 403)


def test_a_body_without_end_is_refused_in_the_one_shape(client: Client) -> None:
    for size in (70_000, 2**20 + 1):
        found = client.sign_up("eve@example.org", "x" * size)
        assert (found.status_code, found.json()["error_code"]) == (413, "request_entity_too_large"), size


def test_who_asks_under_another_name_gets_nowhere_and_changes_no_issuer(client: Client, own: Appliance) -> None:
    body = {"email": ADA, "password": PASSWORD}
    asked = "/token?grant_type=password"
    assert client.send("POST", asked, body, Host="evil.example").status_code == 421
    found = client.send("POST", asked, body, **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"})
    claims = jwt.decode(found.json()["access_token"], options={"verify_signature": False})
    assert claims["iss"] == f"{own.url}/auth/v1"
    assert "evil" not in found.text


def test_pages_of_other_origins_are_let_in_only_by_the_stack_file(client: Client, own: Appliance) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "apikey,content-type"}
    site = client.http.options("/auth/v1/token", headers=asked | {"Origin": own.url})
    assert site.status_code in (200, 204)
    assert site.headers["access-control-allow-origin"] == own.url
    other = client.http.options("/auth/v1/token", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_and_nothing_of_anybody_is_in_logs_environments_or_arguments(client: Client, world: World) -> None:
    session = client.sign_in()
    client.refresh(session)
    client.send("POST", "/token?grant_type=password", {"email": ADA, "password": "wrong-but-nobodys-business"})
    keys = json.loads(world.file("auth", "secrets/keys.json").read_text())
    hidden = {
        "a password": PASSWORD,
        "a wrong password": "wrong-but-nobodys-business",
        "an access token": session["access_token"],
        "a refresh token": session["refresh_token"],
        "a signing key": keys["signing"][0]["d"],
        "the key of API keys": keys["api"]["k"],
        "the sealing key": keys["sealing"],
        **{name: world.secrets[name] for name in (auth.API, auth.SEALING, "auth-postgres", "auth-redis")},
    }
    running = docker.from_env().containers.list(filters={"name": f"maia-{world.stack.name}-"})
    assert len(running) > 4
    places = {f"log of {each.name}": each.logs().decode(errors="replace") for each in running}
    places |= {f"inspection of {each.name}": json.dumps(each.attrs) for each in running}
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                places[f"{process.name}/{name}"] = (process / name).read_bytes().decode(errors="replace")
            except OSError:  # it ended
                continue
    found = {(what, where) for what, value in hidden.items() for where, text in places.items() if value in text}
    assert found == set()
    state = "".join(path.read_text() for path in (world.site.state / ".pulumi").rglob("*.json"))
    assert state
    assert {what for what, value in hidden.items() if value in state} == set()


def test_its_database_role_reaches_accounts_and_nothing_of_the_data(world: World) -> None:
    told = json.loads(world.file("auth", "secrets/postgres.json").read_text())
    script = """
import json, psycopg
link = psycopg.connect(json.load(open("/run/secrets/postgres.json"))["url"], autocommit=True)
for text in ("select count(*) from auth.users", "select * from maia.users", "drop table auth.outbox",
             "create table auth.x ()", "set role maia_owner", "delete from auth.audit_events",
             "select * from pg_authid"):
    try:
        link.execute(text)
        print("done")
    except psycopg.Error as error:
        print(type(error).__name__)
"""
    assert told["database"] == "maia"
    said = within(world, script)
    assert said == ["done", *["InsufficientPrivilege"] * 6]


def test_its_redis_user_sees_nobody_elses_key(world: World) -> None:
    script = """
import json, redis
told = json.load(open("/run/secrets/redis.json"))
link = redis.Redis.from_url(told["url"])
for words in (("SET", "auth:test", "1", "EX", "9"), ("GET", "web:x"), ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",),
              ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("INFO",), ("CLIENT", "LIST"), ("DBSIZE",)):
    try:
        link.execute_command(*words)
        print("done")
    except redis.exceptions.NoPermissionError:
        print("refused")
"""
    said = within(world, script)
    assert said == ["done", *["refused"] * 9]


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_a_redis_that_comes_back_empty_loses_nobody_and_lets_nobody_revoked_in(client: Client, world: World) -> None:
    kept, left = client.sign_in(), client.sign_in()
    assert client.send("POST", "/logout?scope=local", token=left["access_token"]).status_code == 204
    assert client.user(left).status_code in (401, 403)
    world.redis("FLUSHALL")
    world.container("redis").kill("SIGKILL")
    until(
        lambda: world.container("redis").status != "running" or client.user(kept).status_code == 200, "it was noticed"
    )
    world.container("redis").start()
    world.await_healthy("redis")
    until(lambda: client.user(kept).status_code == 200, "the session is known again")
    assert client.refresh(kept).status_code == 200
    assert client.user(left).status_code in (401, 403)
    assert client.refresh(left).status_code == 400


def test_a_sign_up_that_was_answered_outlives_a_killed_service(client: Client, world: World) -> None:
    assert client.sign_up("kim@example.org").status_code == 200
    world.container("auth").kill("SIGKILL")
    until(lambda: world.container("auth").status != "running", "it is gone")
    world.container("auth").start()
    world.await_healthy("auth")
    until(lambda: client.http.get("/auth/v1/health").status_code == 200, "the gateway leads there again")
    assert client.user(client.sign_in("kim@example.org")).status_code == 200


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_api_keys_carry_their_role_and_their_end_and_stand_alone_on_standard_output(own: Appliance) -> None:
    for role in signing.ROLES:
        said = own.maia("auth", "apikey", role, "--days", "30")
        (line,) = said.stdout.splitlines()
        claims = jwt.decode(line, common.engine(own.stack, lambda _: None).secrets()[auth.API], ["HS256"])
        assert (claims["role"], claims["exp"] - claims["iat"]) == (role, 30 * 86400)


def test_mail_waits_here_sealed_and_leads_nowhere_else_whoever_asked(client: Client, own: Appliance) -> None:
    evil = {"X-Forwarded-Host": "evil.example", "X-Original-Host": "evil.example", "Origin": "https://evil.example"}
    asked = "/recover?redirect_to=https://evil.example/"
    assert client.send("POST", asked, {"email": ADA}, **evil).status_code == 200
    until(lambda: ADA in own.maia("auth", "outbox", "--json").stdout, "the mail is there")
    (mail,) = (
        mail for mail in map(json.loads, own.maia("auth", "outbox", "--json").stdout.splitlines()) if mail["to"] == ADA
    )
    assert mail["link"].startswith(f"{own.url}/auth/v1/verify?")
    assert mail["link"] in mail["text"]
    assert "evil" not in json.dumps(mail)
    shown = own.maia("auth", "outbox").stdout
    assert mail["subject"] in shown
    assert mail["link"] in shown
    with psycopg.connect(host=str(own.site.sockets(own.name) / "postgres"), user="postgres", dbname="maia") as link:
        query = "select o::text || encode(sealed, 'escape') from auth.outbox o"
        kept = [str(text) for (text,) in link.execute(query)]
    assert kept
    assert not [text for text in kept if ADA in text or "verify" in text]


def test_the_log_of_security_events_is_whole_until_somebody_alters_it(own: Appliance, world: World) -> None:
    assert own.maia("auth", "audit").returncode == 0
    trigger = "alter table auth.audit_events {} trigger append_only"
    change = "update auth.audit_events set detail = detail {} where number = 1"
    world.sql(trigger.format("disable"), change.format("|| '{\"x\": 1}'"), database="maia")
    try:
        done = own.maia("auth", "audit", check=False)
        assert done.returncode == 1
        assert done.stdout
    finally:
        world.sql(change.format("- 'x'"), trigger.format("enable"), database="maia")
    assert own.maia("auth", "audit").returncode == 0


def test_a_rotation_of_keys_signs_nobody_out_until_it_is_finished(client: Client, own: Appliance) -> None:
    before = client.sign_in()
    old = jwt.get_unverified_header(before["access_token"])["kid"]
    assert old in own.maia("auth", "keys", "list").stdout
    said = own.maia("auth", "keys", "rotate").stdout
    until(lambda: client.user(before).status_code == 200, "what was signed before is believed")
    after = client.sign_in()
    new = jwt.get_unverified_header(after["access_token"])["kid"]
    assert new != old
    assert new in said
    assert [key["kid"] for key in client.http.get("/auth/v1/.well-known/jwks.json").json()["keys"]] == [new, old]
    early = own.maia("auth", "keys", "rotate", "--finish", check=False)
    assert early.returncode == 1
    assert "may be good for" in early.stderr
    own.maia("auth", "keys", "rotate", "--finish", "--now")
    until(lambda: client.user(after).status_code == 200, "the new one is believed")
    assert client.user(before).status_code in (401, 403)
    assert client.refresh(before).status_code == 200
    assert [key["kid"] for key in client.http.get("/auth/v1/.well-known/jwks.json").json()["keys"]] == [new]
    assert own.maia("auth", "keys", "rotate", "--finish", check=False).returncode == 1


def test_a_rotated_login_of_the_database_is_taken_up(client: Client, own: Appliance) -> None:
    session = client.sign_in()
    own.maia("secrets", "rotate", "auth-postgres")
    until(lambda: client.user(session).status_code == 200, "it reads the new login")
    assert client.refresh(session).status_code == 200


# -- checks -----------------------------------------------------------------------------------------------------------


def _another_key(text: str) -> str:
    found = json.loads(text)
    return json.dumps(found | {"signing": [*signing.told([signing.key()]), *found["signing"]]})


def _restarted(world: World) -> None:
    world.container("auth").restart(timeout=5)
    world.await_healthy("auth")


MUTATIONS: dict[str, tuple[set[str], Change]] = {
    "metrics": (
        {"auth[auth-metrics-hidden]"},
        edited("gateway", NGINX, replacing("location ^~ /auth/v1/metrics {", "location ^~ /auth/v1/other {"), "HUP"),
    ),
    "key": (
        {"auth[auth-unknown-key]"},
        edited(
            "gateway",
            NGINX,
            replacing(
                "location ^~ /auth/v1/metrics {",
                "location = /auth/v1/user { return 200; }\nlocation ^~ /auth/v1/metrics {",
            ),
            "HUP",
        ),
    ),
    "keys": ({"auth[auth-published-keys]"}, edited("auth", "secrets/keys.json", _another_key, reread=_restarted)),
    "secured": (
        {"accounts[auth-secured]"},
        sql(
            "alter table auth.outbox no force row level security",
            "alter table auth.outbox force row level security",
            "maia",
        ),
    ),
    "owned": (
        {"accounts[auth-owned]"},
        sql("alter table auth.outbox owner to maia_auth", "alter table auth.outbox owner to maia_owner", "maia"),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_turns_just_its_check_red(name: str, world: World) -> None:
    expected, change = MUTATIONS[name]
    # Keys were rotated since.
    now = World(world.stack, common.engine(world.stack, lambda _: None).secrets())
    assert red(now) == set()
    with change(now):
        assert red(now) == expected
    assert red(now) == set()


# -- off --------------------------------------------------------------------------------------------------------------


def test_without_the_part_accounts_stay_and_are_there_when_it_comes_back(client: Client, own: Appliance) -> None:
    socket = str(own.site.sockets(own.name) / "postgres")
    own.values["parts"]["auth"] = {"enabled": False}
    own.write()
    own.maia("up", "--skip-checks")
    assert client.http.get("/auth/v1/health").status_code == 404
    assert not docker.from_env().containers.list(all=True, filters={"name": f"maia-{own.name}-auth$"})
    with psycopg.connect(host=socket, user="postgres", dbname="maia") as link:
        assert link.execute("select count(*) from auth.users where email = %s", [ADA]).fetchone() == (1,)
        assert link.execute("select count(*) from pg_roles where rolname like 'auth\\_%'").fetchone() == (0,)
    own.values["parts"]["auth"] = {"enabled": True}
    own.write()
    own.maia("up")
    assert client.user(client.sign_in()).status_code == 200


def test_a_move_is_refused_where_the_part_is(own: Appliance, tmp_path: Path) -> None:
    (source := tmp_path / "source").write_text("postgresql://postgres@127.0.0.1:1/postgres\n")
    source.chmod(0o600)
    done = own.maia("migrate", "plan", "--source", str(source), check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the part auth keeps its accounts in the same tables" in line


def test_the_stack_file_holds_the_keys_encrypted(own: Appliance) -> None:
    config = yaml.safe_load(own.site.stack_file(own.name).read_text())["config"]
    assert {f"secrets:{name}" for name in auth.SERVICE.secrets} <= config.keys()
    assert all(list(config[f"secrets:{name}"]) == ["secure"] for name in auth.SERVICE.secrets)
    assert base64.b64encode(b"P-256").decode() not in json.dumps(config)
