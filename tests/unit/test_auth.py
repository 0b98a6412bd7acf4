"""The part auth: what the stack file may ask of it, and what follows in plan, files, secrets and verbs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from app.auth import keys
from app.auth.settings import policy
from app.schema import parts
from infra import ages, cli, config, credentials, doctor, initialise, render, schema, signing
from infra.catalog import auth
from infra.catalog.model import Zone
from infra.components.schema import SchemaProvider
from infra.errors import MaiaError
from infra.plan import Plan
from infra.site import Site
from infra.stack import Stack

Planned = Callable[..., Plan]

ON: dict[str, Any] = {"parts": {"auth": {"enabled": True}}}
PAY = {"host": "smtp.example.org", "sender": "no-reply@example.org"}
SEED = "x7Jq-3LmPz_9WnRt5KvB2cYdHs8Fg4Ue"


def on(**asked: Any) -> dict[str, Any]:
    return ON | {"auth": asked}


def secrets(plan: Plan) -> dict[str, str]:
    return {name: initialise.made(name) for name in plan.secrets}


def text(plan: Plan, part: str, path: str, values: dict[str, str] | None = None) -> str:
    container = plan.container(part)
    file = next(file for file in container.files if file.path == path)
    return render.render(file, plan, container, values or secrets(plan))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MAIA_SITE", str(tmp_path / "site"))
    monkeypatch.delenv("MAIA_STACK", raising=False)
    return Site.current()


def begun(site: Site, text: str) -> None:
    path = site.stack_file("local")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


WITH = "config:\n  maia:parts: {auth: {enabled: true}}\n"


# -- the stack file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "where", "says"),
    [
        ({"sign_up": False}, ".sign_up", "did you mean 'signup'?"),
        ({"signup": "no"}, ".signup", "found 'no'"),
        ({"access_seconds": 10}, ".access_seconds", "found 10"),
        ({"access_seconds": 86400, "idle_seconds": 3600}, "", "access_seconds <= idle_seconds"),
        ({"idle_seconds": 7200, "absolute_seconds": 3600}, "", "idle_seconds <= absolute_seconds"),
        ({"bcrypt_cost": 4}, ".bcrypt_cost", "found 4"),
        ({"bcrypt_cost": 31}, ".bcrypt_cost", "found 31"),
        ({"password_single": 7}, ".password_single", "found 7"),
        ({"password_single": 73}, ".password_single", "found 73"),
        ({"password_single": 8, "password_second": 9}, "", "password_second asks for more"),
        ({"site_url": "app.example.org"}, ".site_url", "expected an address"),
        ({"site_url": "https://app.example.org/*"}, ".site_url", "without *"),
        ({"redirects": ["http://app.example.org/"]}, ".redirects", "https only"),
        ({"redirects": ["https://*"]}, ".redirects", "expected an address"),
        ({"redirects": ["https://app.example.org*"]}, ".redirects", "expected an address"),
        ({"redirects": ["https://*.example.org/"]}, ".redirects", "expected an address"),
        ({"redirects": ["https://app.example.org/*/in"]}, ".redirects", "expected an address"),
        ({"redirects": ["https://app.example.org@evil.example/"]}, ".redirects", "no place"),
        ({"redirects": ["javascript://x/%0aalert(1)"]}, ".redirects", "no place"),
        ({"redirects": ["https://a.example/\nx"]}, ".redirects", "expected an address"),
        ({"origins": ["*"]}, ".origins.0", "found '*'"),
        ({"origins": ["https://app.example.org/"]}, ".origins.0", "found 'https://app.example.org/'"),
        ({"limits": {"sign_in": [1, 1]}}, ".limits", "no limit 'sign_in'"),
        ({"limits": {"sign_in_account": [0, 60]}}, ".limits.sign_in_account.0", "found 0"),
        ({"smtp": {"host": "smtp.example.org"}}, ".smtp.sender", "field required"),
        ({"smtp": PAY | {"tls": "none"}}, ".smtp.tls", "found 'none'"),
        ({"smtp": PAY | {"sender": "Us <us@example.org>"}}, ".smtp.sender", "found"),
        ({"smtp": PAY | {"password": "x"}}, ".smtp.password", "known: host, port, sender, tls, user"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_key(asked: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(MaiaError) as refused:
        config.parse("local", {f"maia:{key}": value for key, value in on(**asked).items()})
    assert refused.value.where == f"maia:auth{where}"
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["https://app.example.org", "https://app.example.org/*", "https://app.example.org/in/*", "http://localhost:3000/*",
     "http://127.0.0.1/", "org.example.app://signed-in"],
)  # fmt: skip
def test_what_links_may_lead_to(address: str, planned: Planned) -> None:
    found = planned(on(redirects=[address])).auth
    assert found and found.redirects == (address,)


def test_the_part_is_there_only_where_it_is_enabled(planned: Planned) -> None:
    for values in ({}, {"parts": {"auth": {"memory": 512}}}, {"parts": {"auth": {"enabled": False}}}):
        plan = planned(values)
        assert not plan.has("auth")
        assert plan.auth is None
        assert not [name for name in plan.secrets if name.startswith("auth-")]
        assert "/auth/v1" not in text(plan, "gateway", "/etc/maia/nginx.conf", {"operator": SEED})
        assert schema.wanted(plan) == ()
    assert "auth" not in {absent.part for absent in planned().absent}
    assert planned(ON).has("auth")


def test_what_would_be_said_to_nobody_is_refused(planned: Planned) -> None:
    with pytest.raises(MaiaError, match="maia:auth needs it") as refused:
        planned({"auth": {"signup": False}})
    assert refused.value.where == "maia:parts.auth.enabled"
    # Who takes the part away for a while need not forget what it was told.
    assert not planned({"auth": {"signup": False}, "parts": {"auth": {"enabled": False}}}).has("auth")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        (ON | {"database": {"enabled": False}}, "maia:database.enabled"),
        ({"parts": ON["parts"] | {"redis": {"enabled": False}, "redis-exporter": {"enabled": False}}},
         "maia:parts.redis.enabled"),
        ({"parts": ON["parts"] | {"exit": {"enabled": False}}, "auth": {"smtp": PAY}}, "maia:parts.exit.enabled"),
        (ON | {"apps": {"maia-auth": {"image": "sha256:" + "a" * 64}}}, "maia:apps.maia-auth"),
        (ON | {"apps": {"auth": {"image": "sha256:" + "a" * 64}}}, "maia:apps.auth"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_without_is_named(values: dict[str, Any], where: str, planned: Planned) -> None:
    with pytest.raises(MaiaError) as refused:
        planned(values)
    assert refused.value.where == where


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_a_stack_with_the_part_is_what_it_was(planned: Planned, golden: Callable[[str, str], None]) -> None:
    asked = {"site_url": "https://app.example.org", "redirects": ["https://app.example.org/*"], "smtp": PAY}
    golden("plan-auth.json", planned(on(**asked)).json() + "\n")


def test_it_stands_between_gateway_data_and_prometheus_and_has_no_way_out(planned: Planned) -> None:
    part = planned(ON).container("auth")
    assert set(part.addresses) == {Zone.APPS, Zone.DATA, Zone.OPS}
    assert not part.root and not part.capabilities and not part.deviations and not part.published
    assert set(part.after) == {"postgres", "redis"}
    assert not planned(ON).grants
    assert all(value.startswith(("/etc/maia/", "/run/")) for value in part.env.values())


def test_its_image_has_a_user_that_no_other_part_runs_as() -> None:
    from infra.images.recipe import load_all

    recipes = load_all()
    mine = recipes["auth"].user
    assert [name for name, recipe in recipes.items() if recipe.user.uid == mine.uid] == ["auth"]


def test_its_role_owns_nothing_and_comes_after_the_tables(planned: Planned) -> None:
    plan = planned(ON)
    (role,) = (role for role in plan.roles if role.part == "auth")
    assert (role.role, role.database.name, role.database.member_of) == ("auth", "maia", ("maia_auth",))
    assert not role.database.owner
    assert schema.wanted(plan) == ("auth",)


def test_its_redis_user_sees_its_own_keys_and_lists_nobodys(planned: Planned) -> None:
    (user,) = (user for user in planned(ON).redis_users if user.part == "auth")
    assert (user.rules.keys, user.rules.channels) == (("auth:*",), ())
    given = user.rules.commands
    assert given[0] == "-@all"
    assert given[-2:] == ("-@admin", "-@dangerous")
    # No pattern bounds these: they tell the keys of every part, or take them away.
    assert not {"+scan", "+keys", "+randomkey", "+dbsize", "+flushall", "+@all", "+@keyspace", "+@read"} & set(given)


def test_a_mail_server_is_the_only_place_outside_that_it_may_reach(planned: Planned) -> None:
    plan = planned(on(smtp=PAY))
    assert [(grant.part, str(grant.endpoint)) for grant in plan.grants] == [("auth", "smtp.example.org:587")]
    assert plan.container("auth").env["HTTPS_PROXY"] == "http://exit:3128"
    assert "exit" in plan.container("auth").after
    assert auth.SMTP not in plan.secrets


def test_the_password_of_the_mail_server_is_its_owners_to_give(planned: Planned) -> None:
    plan = planned(on(smtp=PAY | {"user": "maia"}))
    assert [name for name in plan.secrets if initialise.given(name)] == ["auth-smtp"]
    assert text(plan, "auth", "/run/secrets/smtp", secrets(plan) | {"auth-smtp": "of theirs"}) == "of theirs\n"
    told = json.loads(text(plan, "auth", "/etc/maia/auth.json"))["smtp"]
    assert told == PAY | {"port": 587, "tls": "starttls", "user": "maia", "password_file": "/run/secrets/smtp"}


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", [{}, {"smtp": PAY | {"user": "maia"}, "limits": {"mail_day": [9, 60]}, "anonymous": True}]
)
def test_the_service_understands_what_it_is_told(asked: dict[str, Any], planned: Planned, tmp_path: Path) -> None:
    plan = planned(on(**asked) | {"gateway": {"names": ["maia.example"], "https": 443}})
    (path := tmp_path / "auth.json").write_text(text(plan, "auth", "/etc/maia/auth.json"))
    found = policy(path)
    assert (found.issuer, found.site_url) == ("https://maia.example/auth/v1", "https://maia.example")
    assert (found.bcrypt_cost, found.password_single, found.anonymous) == (12, 15, bool(asked))
    assert found.proxies == (f"{plan.container('gateway').addresses['apps']}/32",)
    assert (found.limits["mail_day"] == (9, 60)) == bool(asked)
    assert (found.smtp is None) == (not asked)


def test_its_keys_are_what_the_service_expects(planned: Planned, tmp_path: Path) -> None:
    plan = planned(ON)
    values = secrets(plan)
    found = json.loads(text(plan, "auth", "/run/secrets/keys.json", values))
    assert found.keys() == {"signing", "api", "sealing"}
    (key,) = found["signing"]
    assert key.keys() == {"kty", "crv", "x", "y", "d", "kid", "alg"}
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
    token = jwt.encode({"sub": "x"}, jwt.PyJWK(key).key, "ES256")
    public = jwt.PyJWK({name: value for name, value in key.items() if name != "d"})
    assert jwt.decode(token, public.key, ["ES256"]) == {"sub": "x"}
    assert (found["api"]["kty"], found["api"]["alg"]) == ("oct", "HS256")
    assert len(base64.urlsafe_b64decode(found["api"]["k"] + "==")) >= 32
    assert len(base64.b64decode(found["sealing"], validate=True)) == 32
    assert values[auth.SEALING] not in json.dumps(found)
    (path := tmp_path / "keys.json").write_text(json.dumps(found))
    assert keys.read(path).unseal(keys.read(path).seal("words", "test"), "test") == "words"


def test_nobody_but_the_part_and_who_keeps_everything_is_told_its_keys(planned: Planned) -> None:
    plan = planned(ON)
    told = {container.part for container in plan.containers if {*auth.SERVICE.secrets} & {*container.secrets}}
    assert told == {"auth"}


def test_credentials_are_read_again_without_a_new_container(planned: Planned) -> None:
    files = planned(ON).container("auth").files
    assert {file.path for file in files if file.live} == {"/run/secrets/postgres.json", "/run/secrets/redis.json"}


# -- the gateway ------------------------------------------------------------------------------------------------------


def test_the_gateway_leads_there_without_the_prefix_bounds_what_is_sent_and_hides_the_metrics(planned: Planned) -> None:
    conf = text(planned(ON), "gateway", "/etc/maia/nginx.conf", {"operator": SEED})
    (route,) = re.findall(r"location \^~ /auth/v1/ \{(.*?)\n    \}", conf, re.DOTALL)
    assert "proxy_pass http://auth_8000/;" in route
    assert "client_max_body_size 1m;" in route
    assert "auth_basic" not in route
    # Where a location has one page for errors, it has none of the server's.
    assert "error_page 502 504 = @unavailable;" in route
    (hidden,) = re.findall(r"location \^~ /auth/v1/metrics \{(.*?)\n    \}", conf, re.DOTALL)
    assert "return 404" in hidden and "proxy_pass" not in hidden
    assert json.loads(re.findall(r"return 413 '(.*)';", conf)[0])["error_code"] == "request_entity_too_large"


def test_metrics_of_a_part_with_an_operators_login_stay_behind_it(planned: Planned) -> None:
    conf = text(planned(), "gateway", "/etc/maia/nginx.conf", {"operator": SEED})
    assert "/metrics" not in conf


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_named_by_its_thumbprint() -> None:
    key = signing.key(now=1700000000.5)
    told = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    assert key["kid"] == base64.urlsafe_b64encode(hashlib.sha256(told.encode()).digest()).rstrip(b"=").decode()
    assert key["iat"] == 1700000000
    assert signing.key()["d"] != signing.key()["d"]


def test_a_rotation_lets_the_new_key_sign_and_believes_the_former_ones_until_it_is_finished() -> None:
    before = signing.first()
    after = signing.rotated(before)
    assert signing.read(after)[1:] == signing.read(before)
    assert signing.read(after)[0]["kid"] != signing.read(before)[0]["kid"]
    assert signing.read(signing.finished(after)) == signing.read(after)[:1]


def test_a_secret_of_keys_passes_the_judgement_on_secrets() -> None:
    credentials.refuse_weak(auth.SIGNING, signing.first())
    assert initialise.made(auth.SIGNING).startswith("[{")
    assert not initialise.made(auth.API).startswith("[")


@pytest.mark.parametrize("role", signing.ROLES)
def test_an_api_key_is_good_for_its_role_and_its_days_and_only_with_its_secret(role: str) -> None:
    made = signing.minted(SEED, role, days=30, now=1_700_000_000)
    assert jwt.decode(made, SEED, ["HS256"], {"verify_exp": False}) == {
        "role": role, "iss": "supabase", "iat": 1_700_000_000, "exp": 1_700_000_000 + 30 * 86400
    }  # fmt: skip
    assert jwt.get_unverified_header(made) == {"alg": "HS256", "kid": signing.api(SEED)["kid"], "typ": "JWT"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(made, SEED[::-1], ["HS256"])


# -- the schema -------------------------------------------------------------------------------------------------------


def test_the_tables_are_part_of_the_schema_only_where_the_plan_has_the_part(tmp_path: Path) -> None:
    there = {"socket": str(tmp_path), "database": "maia", "bootstrap": "1", "versions": {"0001": "0"}}
    on = there | {"parts": parts.present(("auth",))}
    assert on["parts"] == {"auth": hashlib.sha256(parts.FILES["auth"].read_bytes()).hexdigest()}

    def changes(before: dict[str, Any], after: dict[str, Any]) -> bool | None:
        return SchemaProvider().diff("maia", before, after).changes

    assert changes(there, on)
    assert not changes(on, on)
    assert not changes(on, there)
    assert changes(on | {"parts": {"auth": "0"}}, on)


# -- age ---------------------------------------------------------------------------------------------------------------


def test_an_old_list_of_keys_is_told_of_and_what_would_shut_people_out_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(site, WITH)
    stack = Stack("local", site)
    monkeypatch.setattr(ages, "old", lambda *_: dict.fromkeys(auth.SERVICE.secrets, 400) | {"auth-redis": 400})
    assert dict(doctor._aging(stack)) == {
        "the secret auth-signing is 400 days old": "./maia auth keys rotate --stack local",
        "the secret auth-redis is 400 days old": "./maia secrets rotate auth-redis --stack local",
    }


# -- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "words", "says"),
    [
        ("config: {}\n", ("auth", "apikey", "anon"), "auth: is not there (set maia:parts.auth.enabled to true"),
        ("config: {}\n", ("auth", "outbox"), "auth: is not there"),
        (WITH, ("auth", "apikey", "root"), "invalid choice: 'root'"),
        (WITH, ("auth", "apikey", "anon", "--days", "0"), "--days: 0 is no number of days"),
        (WITH, ("auth", "keys", "rotate", "--now"), "--now: goes with --finish"),
        (WITH, ("secrets", "rotate", "auth-signing"), "auth-signing: is a list of keys (maia auth keys rotate)"),
        (WITH, ("secrets", "rotate", "auth-sealing"), "opens the second factors of everybody and cannot be rotated"),
        *(
            (WITH, ("migrate", *words), "migrate: a project brings accounts of its own")
            for words in (
                ("plan", "--source", "x"), ("copy", "--source", "x"), ("verify", "--source", "x"),
                ("sync", "--source", "x"), ("cutover", "--source", "x"), ("rollback", "--source", "x"),
                ("finalize", "--source", "x"), ("adopt",),
            )
        ),
    ],
)  # fmt: skip
def test_a_verb_that_cannot_go_on_says_why_in_one_line(
    site: Site, capsys: pytest.CaptureFixture[str], stack: str, words: tuple[str, ...], says: str
) -> None:
    begun(site, stack)
    assert cli.main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("maia: ")
    assert says in line
