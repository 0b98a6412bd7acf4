"""The part auth in the stack: what the gateway lets through, what its logins may, what it survives, its verbs."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import jwt
import pytest
import yaml

import checks
from infra import signing
from infra.catalog import auth
from infra.cli import common
from tests.conftest import Appliance
from tests.system.auth.service import Service, address
from tests.system.mutations import Change, World, edited, replacing, sql, until

NGINX = "config/nginx.conf"
WRONG = "wrong, but nobody's business"


@pytest.fixture
def world(service: Service, appliance: Appliance) -> World:
    """The stack with the part on, and the secrets that it has now."""
    return World(appliance.stack, common.engine(appliance.stack, lambda _: None).secrets())


def red(world: World) -> set[str]:
    result = checks.run(world.stack, say=lambda _: None, secrets=world.secrets, keyword="test_auth or accounts")
    assert result.rows
    return {row.check for row in result.failed}


def within(world: World, script: str) -> list[str]:
    """The words that a script says in the part's container."""
    output = world.container("auth").exec_run(["python3", "-c", script]).output
    assert isinstance(output, bytes)
    return output.decode().split()


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(service: Service) -> list[str]:
    return [key["kid"] for key in service.send("GET", "/.well-known/jwks.json", key=None).json()["keys"]]


def answers(service: Service, path: str = "/health") -> bool:
    """Whether the gateway leads there; while the part is away, it says so itself."""
    return service.http.get(f"{service.base}{path}").status_code == 200


# -- in the stack -----------------------------------------------------------------------------------------------------


def test_its_checks_are_green_and_nothing_is_left_to_change(appliance: Appliance, world: World) -> None:
    assert red(world) == set()
    states = {part["part"]: part["health"] for part in json.loads(appliance.maia("status", "--json").stdout)["parts"]}
    assert states["auth"] == "healthy"
    assert appliance.maia("db", "diff").stdout == "the same\n"
    assert "nothing to change" in appliance.maia("preview").stdout


def test_what_it_counts_is_read_inside_and_hidden_outside(service: Service, world: World) -> None:
    for path in ("/metrics", "/metrics/", "/%6detrics", "//metrics", "/./metrics", "/x/../metrics", "/metrics?x"):
        assert service.http.get(f"{service.base}{path}").status_code == 404, path
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    assert "maia_auth_request_seconds_count" in "".join(within(world, ask))


def test_a_key_of_another_stack_opens_nothing(service: Service) -> None:
    other = signing.minted(address(), "service_role")
    for key in ("unknown", other, service.anon[:-2]):
        assert service.send("GET", "/user", key=key).status_code == 401
        assert service.send("GET", "/admin/users", key=key, token=key).status_code == 401


def test_a_body_without_end_is_refused_however_it_is_sent(service: Service) -> None:
    body = json.dumps({"email": address(), "password": "x" * 2**20}).encode()
    for content in (body, (body[i : i + 2**16] for i in range(0, len(body), 2**16))):
        sent = {"apikey": service.anon, "Content-Type": "application/json"}
        answer = service.http.post(f"{service.base}/signup", content=content, headers=sent)
        assert (answer.status_code, answer.json()["error_code"]) == (413, "request_entity_too_large")


def test_tokens_are_issued_by_the_address_of_the_stack_whoever_asks(service: Service, appliance: Appliance) -> None:
    ada = service.person()
    asked = {"email": ada.email, "password": ada.password}
    evil = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Original-Host": "evil.example"}
    answer = service.post("/token?grant_type=password", asked, headers=evil)
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["iss"] == f"{appliance.url}/auth/v1"
    misled = service.http.post(f"{service.base}/recover", json=asked, headers={"Host": "evil.example"})
    assert misled.status_code == 421


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_and_nothing_of_anybody_is_in_logs_environments_or_arguments(service: Service, world: World) -> None:
    ada = service.person(password="four words that nobody else has")
    session = service.session(ada)
    after = service.refresh(session.refresh).json()
    assert service.sign_in(ada.email, WRONG).status_code == 400
    assert service.post("/recover", {"email": ada.email}).status_code == 200
    until(lambda: bool(service.mails(ada.email)), "the mail is there")
    keys = service.keys()
    hidden = {
        "a password": ada.password,
        "a wrong password": WRONG,
        "an address": ada.email,
        "a link": service.mail(ada.email).link.partition("token=")[2].partition("&")[0],
        "an access token": session.access,
        "a refresh token": session.refresh,
        "the next refresh token": after["refresh_token"],
        "an API key": service.anon,
        "a signing key": keys["signing"][0]["d"],
        "the key of API keys": keys["api"]["k"],
        "the sealing key": keys["sealing"],
        **{name: world.secrets[name] for name in (auth.API, auth.SEALING, "auth-postgres", "auth-redis")},
    }
    assert all(len(value) > 12 for value in hidden.values())
    running = docker.from_env().containers.list(filters={"name": f"maia-{world.stack.name}-"})
    places = {f"log of {each.name}": each.logs().decode(errors="replace") for each in running}
    assert "auth" in "".join(places)
    places |= {f"inspection of {each.name}": json.dumps(each.attrs) for each in running}
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                places[f"{process.name}/{name}"] = (process / name).read_bytes().decode(errors="replace")
            except OSError:  # it ended
                continue
    state = [path.read_text() for path in (world.site.state / ".pulumi").rglob("*.json")]
    assert state
    places["the state"] = "".join(state)
    assert {(what, where) for what, value in hidden.items() for where, text in places.items() if value in text} == set()
    config = yaml.safe_load(world.stack.file.read_text())["config"]
    assert all(list(config[f"secrets:{name}"]) == ["secure"] for name in auth.SERVICE.secrets)


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


# -- what it survives -------------------------------------------------------------------------------------------------


def test_a_redis_that_comes_back_empty_loses_nobody_and_lets_nobody_revoked_in(service: Service, world: World) -> None:
    ada = service.person()
    kept, left = service.session(ada), service.session(ada)
    assert service.post("/logout?scope=local", token=left.access).status_code == 204
    assert service.user(left.access).status_code in (401, 403)
    world.redis("FLUSHALL")
    world.container("redis").kill("SIGKILL")
    until(lambda: world.container("redis").status != "running", "it is gone")
    # Without it, too.
    assert service.user(kept.access).status_code == 200
    assert service.user(left.access).status_code in (401, 403)
    world.container("redis").start()
    world.await_healthy("redis")
    assert service.user(kept.access).status_code == 200
    assert service.refresh(kept.refresh).status_code == 200
    assert service.user(left.access).status_code in (401, 403)
    assert service.refresh(left.refresh).status_code == 400


def test_an_account_that_was_answered_outlives_a_killed_service(service: Service, world: World) -> None:
    kim = address("kim")
    assert service.sign_up(kim).status_code == 200
    world.container("auth").kill("SIGKILL")
    until(lambda: world.container("auth").status != "running", "it is gone")
    assert service.http.get(f"{service.base}/health").status_code == 503
    world.container("auth").start()
    world.await_healthy("auth")
    until(lambda: answers(service), "the gateway leads there again")
    with service.database() as link:
        assert link.execute("select count(*) from auth.users where email = %s", [kim]).fetchone() == (1,)


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_api_keys_carry_their_role_and_their_end_and_stand_alone_on_standard_output(
    appliance: Appliance, world: World
) -> None:
    for role in signing.ROLES:
        (line,) = appliance.maia("auth", "apikey", role, "--days", "30").stdout.splitlines()
        claims = jwt.decode(line, world.secrets[auth.API], ["HS256"])
        assert (claims["role"], claims["exp"] - claims["iat"]) == (role, 30 * 86400)


def test_mail_that_waits_is_shown_on_the_machine_and_is_nowhere_in_clear(
    service: Service, appliance: Appliance
) -> None:
    ada = service.person()
    assert service.post("/recover?redirect_to=https://evil.example/", {"email": ada.email}).status_code == 200
    until(lambda: bool(service.mails(ada.email)), "the mail is there")
    mail = service.mail(ada.email)
    assert mail.link.startswith(f"{appliance.url}/auth/v1/verify?")
    assert "evil" not in mail.text
    shown = appliance.maia("auth", "outbox").stdout
    assert ada.email in shown
    assert mail.link in shown
    assert service.kept(mail.link, mail.link.partition("token=")[2].partition("&")[0]) == []


def test_the_log_of_security_events_is_whole_until_somebody_alters_it(appliance: Appliance, world: World) -> None:
    assert "no faults" in appliance.maia("auth", "audit").stdout
    trigger = "alter table auth.audit_events {} trigger append_only"
    change = "update auth.audit_events set detail = detail {} where number = 1"
    world.sql(trigger.format("disable"), change.format("|| '{\"x\": 1}'"), database="maia")
    try:
        done = appliance.maia("auth", "audit", check=False)
        assert done.returncode == 1
        assert "it was altered" in done.stdout
    finally:
        world.sql(change.format("- 'x'"), trigger.format("enable"), database="maia")
    assert "no faults" in appliance.maia("auth", "audit").stdout


def test_a_rotation_of_keys_signs_nobody_out_until_it_is_finished(service: Service, appliance: Appliance) -> None:
    ada = service.person()
    before = service.session(ada)
    old = kid(before.access)
    assert old in appliance.maia("auth", "keys", "list").stdout
    said = appliance.maia("auth", "keys", "rotate").stdout
    until(lambda: answers(service), "it is there again")
    assert service.user(before.access).status_code == 200
    after = service.session(ada)
    new = kid(after.access)
    assert new != old
    assert new in said
    assert published(service) == [new, old]
    early = appliance.maia("auth", "keys", "rotate", "--finish", check=False)
    assert early.returncode == 1
    assert "may be good for" in early.stderr
    appliance.maia("auth", "keys", "rotate", "--finish", "--now")
    until(lambda: answers(service), "it is there again")
    assert service.user(after.access).status_code == 200
    assert service.user(before.access).status_code in (401, 403)
    assert service.refresh(before.refresh).status_code == 200
    assert published(service) == [new]
    assert "no rotation is under way" in appliance.maia("auth", "keys", "rotate", "--finish", check=False).stderr


def test_a_rotated_login_of_the_database_is_taken_up_without_a_new_container(
    service: Service, appliance: Appliance, world: World
) -> None:
    session, before = service.session(service.person()), world.container("auth").id
    appliance.maia("secrets", "rotate", "auth-postgres")
    assert service.user(session.access).status_code == 200
    assert service.refresh(session.refresh).status_code == 200
    assert world.container("auth").id == before


def test_a_move_is_refused_where_the_part_is(service: Service, appliance: Appliance, tmp_path: Path) -> None:
    (source := tmp_path / "source").write_text("postgresql://postgres@127.0.0.1:1/postgres\n")
    source.chmod(0o600)
    done = appliance.maia("migrate", "plan", "--source", str(source), check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the part auth keeps its accounts in the same tables" in line


# -- checks -----------------------------------------------------------------------------------------------------------


def _another_key(text: str) -> str:
    found = json.loads(text)
    return json.dumps(found | {"signing": [*signing.told([signing.key()]), *found["signing"]]})


def _restarted(world: World) -> None:
    world.container("auth").restart(timeout=5)
    world.await_healthy("auth")


STRAY = """create table auth.stray (); alter table auth.stray owner to maia_auth;
    alter table auth.stray enable row level security, force row level security"""
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
    "owned": ({"accounts[auth-owned]"}, sql(STRAY, "drop table auth.stray", "maia")),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_turns_just_its_check_red(name: str, world: World) -> None:
    expected, change = MUTATIONS[name]
    with change(world):
        assert red(world) == expected


def test_after_all_of_them_everything_is_green(world: World) -> None:
    assert red(world) == set()
