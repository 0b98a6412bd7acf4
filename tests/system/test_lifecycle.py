"""The life of a stack, in the order of this file: up, changed, drifted, rotated, damaged, down, up again, destroyed."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import redis
from docker.models.containers import Container

from infra import credentials
from infra.components import cache, database
from infra.site import REPO
from tests.conftest import Appliance, small

PROMETHEUS = 384
"""MiB that the changed setting gives Prometheus."""
EXPORTER = "redis-exporter"


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with small(tmp_path_factory.mktemp("lifecycle") / "site") as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def clone() -> Iterator[None]:
    """Whatever the verbs of this file do, they leave no trace in the clone."""
    before = _git_status()
    yield
    assert _git_status() == before


def _git_status() -> str:
    return subprocess.run(["git", "status", "--porcelain"], cwd=REPO, capture_output=True, text=True, check=True).stdout


def _container(third: Appliance, part: str) -> Container:
    return docker.from_env().containers.get(third.stack.plan.container(part).name)


def _containers(third: Appliance) -> dict[str, str]:
    """Part to container id."""
    prefix = f"maia-{third.name}-"
    found = docker.from_env().containers.list(all=True, filters={"name": prefix})
    return {str(each.name).removeprefix(prefix): str(each.id) for each in found}


def _previewed(third: Appliance) -> set[tuple[str, str, str]]:
    """(operation, kind, name) of every line of ``maia preview``."""
    said = third.maia("preview").stdout
    if "nothing to change" in said:
        return set()
    words = (line.split() for line in said.splitlines()[1:])
    return {(operation, kind, name) for operation, kind, name, *_ in words}


def _plainly_previewed(third: Appliance) -> set[tuple[str, str, str]]:
    """The same, as plain ``pulumi`` sees it in a shell of its own."""
    script = f'set -e; eval "$({shlex.quote(str(REPO / "maia"))} env)"; pulumi preview --refresh --json'
    done = subprocess.run(
        ["bash", "-c", script], env=third.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        cwd=third.root, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    steps = ((step["op"], *step["urn"].split("::")[-2:]) for step in json.loads(done.stdout)["steps"])
    quiet = ("same", "refresh", "read", "create-replacement", "delete-replaced")
    return {
        (operation, kind.split("$")[-1].split(":")[-1], name)
        for operation, kind, name in steps
        if operation not in quiet
    }


def _changes(said: str) -> str:
    (line,) = (line for line in said.splitlines() if line.startswith("changes: "))
    return line.removeprefix("changes: ")


def _redis(third: Appliance, user: str, password: str) -> Any:
    path = third.site.sockets(third.name) / "redis" / "redis.sock"
    return redis.Redis(unix_socket_path=str(path), username=user, password=password)


def _administer_redis(third: Appliance) -> Any:
    admin = third.site.files(third.name) / "administrators" / "redis"
    return cache.administer({"socket": str(third.site.sockets(third.name) / "redis"), "admin": str(admin)})


def _postgres(third: Appliance) -> str:
    return str(third.site.sockets(third.name) / "postgres")


def _checkpoint(third: Appliance) -> Path:
    return third.site.state / ".pulumi" / "stacks" / "maia" / f"{third.name}.json"


def test_up_makes_all_of_it_and_a_second_up_meanwhile_is_told_who_is_at_work(third: Appliance) -> None:
    with third.start("up", "--skip-checks") as first:
        assert first.stdout
        next(line for line in first.stdout if "pulumi up: " in line)
        second = third.maia("up", check=False)
        said = first.stdout.read()
    assert second.returncode == 1
    assert f"maia: stack {third.name}: held by maia up (pid {first.pid}) since " in second.stderr
    assert "wait for it to end" in second.stderr
    assert first.returncode == 0, said
    assert _containers(third).keys() == {container.part for container in third.stack.plan.containers}
    assert "log in:  operator" in said


def test_up_again_changes_nothing(third: Appliance) -> None:
    before = _containers(third)
    assert _changes(third.maia("up", "--skip-checks").stdout) == "none"
    assert _containers(third) == before


def test_a_changed_setting_replaces_just_what_it_concerns_and_plain_pulumi_says_the_same(third: Appliance) -> None:
    assert _plainly_previewed(third) == set()
    before = _containers(third)
    third.write({"parts": third.values["parts"] | {"prometheus": {"memory": PROMETHEUS}}})
    foreseen = _previewed(third)
    assert {(operation, name) for operation, kind, name in foreseen if kind == "Container"} <= {
        ("update", "prometheus"),
        ("replace", "prometheus"),
    }
    assert foreseen
    assert _plainly_previewed(third) == foreseen
    third.maia("up", "--skip-checks")
    after = _containers(third)
    assert {part for part in after if after[part] != before[part]} <= {"prometheus"}
    assert _container(third, "prometheus").attrs["HostConfig"]["Memory"] == PROMETHEUS * 2**20


def test_drift_of_every_kind_is_shown_and_mended(third: Appliance) -> None:
    config = third.site.files(third.name) / "prometheus" / "config" / "prometheus.yml"
    rendered = config.read_text()
    limit = _container(third, "gateway").attrs["HostConfig"]["Memory"]
    _container(third, "postgres").remove(force=True)
    _container(third, "gateway").update(mem_limit=limit + 2**20, memswap_limit=limit + 2**20)
    _container(third, "minio").stop()
    config.write_text(rendered + "# by hand\n")
    _administer_redis(third).execute_command("ACL", "SETUSER", EXPORTER, "+flushall")
    shown = _previewed(third)
    expected = {
        ("create", "Container", "postgres"),
        ("update", "Container", "gateway"),
        ("update", "Files", "prometheus-config"),
        ("update", "RedisUser", f"{EXPORTER}-redis-user"),
    }
    assert expected <= shown
    assert {name for _, kind, name in shown if kind == "Container"} <= {"postgres", "gateway", "minio"}
    third.maia("up", "--skip-checks")
    assert _previewed(third) == set()
    assert _container(third, "gateway").attrs["HostConfig"]["Memory"] == limit
    assert _container(third, "minio").status == "running"
    assert config.read_text() == rendered
    assert "+flushall" not in _administer_redis(third).acl_getuser(EXPORTER)["commands"]


def test_status_logs_restart_and_doctor_tell_how_it_is(third: Appliance) -> None:
    status = json.loads(third.maia("status", "--json").stdout)
    assert status["well"]
    assert {part["part"]: part["restarts"] for part in status["parts"]} == dict.fromkeys(_containers(third), 0)
    assert {absent["part"] for absent in status["absent"]} >= {"alertmanager", "exit"}
    assert "database system is ready" in third.maia("logs", "postgres").stdout
    began = _container(third, "redis").attrs["State"]["StartedAt"]
    third.maia("restart", "redis")
    assert _container(third, "redis").attrs["State"]["StartedAt"] > began
    assert third.maia("doctor").stdout.startswith("nothing is wrong\n")  # what could be tidied up may follow
    _container(third, "s3").stop()
    ill = third.maia("doctor", check=False)
    assert ill.returncode == 1
    assert "s3 is exited\n" in ill.stdout
    assert third.maia("status", check=False).returncode == 1
    third.maia("restart", "s3")
    assert json.loads(third.maia("status", "--json").stdout)["well"]


def test_a_support_bundle_holds_the_logs_and_no_secret(third: Appliance, tmp_path: Path) -> None:
    planted = third.secret("redis-admin")
    with database.administer(_postgres(third)) as link:
        link.execute(f"do $$ begin raise log 'password={planted} from nowhere'; end $$".encode())
    assert planted.encode() in _container(third, "postgres").logs()
    bundle = tmp_path / "bundle.tar.gz"
    third.maia("support-bundle", "--output", str(bundle))
    with tarfile.open(bundle) as archive:
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        texts = {name: file.read().decode() for name, file in files.items() if file}
    assert "from nowhere" in texts["logs/postgres.log"]
    assert {"plan.json", "status.json", "stack.yaml", "doctor.txt"} <= texts.keys()
    secrets = [third.secret(name) for name in sorted(third.stack.secret_names)]
    secrets.append(third.site.passphrase.read_text())
    pieces = {line for secret in secrets for line in secret.splitlines() if not line.startswith("-----")}
    pieces -= set(third.secret("ca-crt").splitlines())  # public
    assert len(pieces) >= len(third.stack.plan.secrets)
    assert [(name, "…") for name, text in texts.items() if any(piece in text for piece in pieces)] == []


def test_rotation_while_running_refuses_the_old_and_accepts_the_new(third: Appliance) -> None:
    def postgres(password: str) -> bool:
        address = third.stack.plan.container("postgres").addresses["data"]
        login = credentials.tagged("postgres_exporter", password, "_")
        code, _ = _container(third, "postgres").exec_run(
            ["psql", f"host={address} dbname=postgres user={login} sslmode=require", "-c", "select 1"],
            environment={"PGPASSWORD": password},
        )
        return bool(code == 0)

    def exporter(password: str) -> bool:
        try:
            return bool(_redis(third, EXPORTER, password).ping())
        except redis.AuthenticationError:
            return False

    def operator(password: str) -> bool:
        trusted = ssl.create_default_context(cafile=third.ca)
        answer = httpx.get(
            f"{third.url}/status/",
            auth=("operator", password),
            verify=trusted,
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code in (200, 401)
        return answer.status_code == 200

    uses = {"postgres-exporter-postgres": postgres, "redis-exporter-redis": exporter, "operator": operator}
    for name, accepted in uses.items():
        old = third.maia("secrets", "show", name).stdout.strip()
        assert accepted(old)
        third.maia("secrets", "rotate", name)
        new = third.maia("secrets", "show", name).stdout.strip()
        assert new != old
        assert accepted(new), f"{name}: the new one is refused"
        assert not accepted(old), f"{name}: the old one still works"
    assert json.loads(third.maia("status", "--json").stdout)["well"]
    assert _previewed(third) == set()


def test_a_part_that_never_gets_healthy_is_told_by_its_last_words_and_disturbs_no_other(third: Appliance) -> None:
    parts = _containers(third).keys()
    image = third.stack.plan.container("redis").image_id
    script = "echo 'no such file: flux.conf' >&2; exit 3"
    third.write({"apps": {"broken": {"image": image, "route": None, "command": ["sh", "-c", script]}}})
    refused = third.maia("up", "--skip-checks", check=False)
    status = json.loads(third.maia("status", "--json", check=False).stdout)
    third.write({"apps": {}})
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert line.startswith("maia: ")
    assert "no such file: flux.conf" in line
    assert "maia logs broken" in line
    assert "Traceback" not in refused.stdout + refused.stderr
    assert [part["part"] for part in status["parts"] if not part["well"]] == ["broken"]
    third.maia("up", "--skip-checks")
    assert _containers(third).keys() == parts


def test_another_site_folder_keeps_off_a_stack_of_the_same_name(
    third: Appliance, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = _containers(third), sorted(third.leftovers())
    stranger = Appliance(third.name, tmp_path_factory.mktemp("own") / "site", dict(third.values))
    stranger.write()
    for verb in (("up", "--skip-checks"), ("destroy", "--yes", third.name)):
        refused = stranger.maia(*verb, check=False)
        assert refused.returncode == 1
        assert "this site folder knows nothing of it (name its site folder in MAIA_SITE" in refused.stderr
    assert (_containers(third), sorted(third.leftovers())) == before


def test_a_damaged_state_file_is_told_and_the_mend_it_names_works(third: Appliance) -> None:
    checkpoint = _checkpoint(third)
    before = _containers(third)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    refused = third.maia("up", "--skip-checks", check=False)
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert line.startswith(f"maia: {checkpoint}: the state file is damaged (restore it: ")
    assert _containers(third) == before
    subprocess.run(shlex.split(line.rpartition("restore it: ")[2].rstrip(")")), check=True)
    third.maia("up", "--skip-checks")
    assert _containers(third).keys() == before.keys()
    assert json.loads(third.maia("status", "--json").stdout)["well"]


def test_an_older_state_is_caught_up_with_what_runs(third: Appliance) -> None:
    """As after a restore of the site folder: it knows a container that is gone, and not the one that runs."""
    checkpoint = _checkpoint(third)
    older = checkpoint.read_bytes()
    _container(third, "gateway").remove(force=True)
    third.maia("up", "--skip-checks")
    checkpoint.write_bytes(older)
    third.maia("up", "--skip-checks")
    assert _container(third, "gateway").status == "running"
    assert _previewed(third) == set()


def test_a_state_that_contradicts_itself_is_told_and_the_mend_it_names_works(third: Appliance) -> None:
    checkpoint = _checkpoint(third)
    document = json.loads(checkpoint.read_text())
    latest = document["checkpoint"]["latest"]
    latest["resources"] = [each for each in latest["resources"] if not each["urn"].endswith("::gateway-config")]
    checkpoint.write_text(json.dumps(document))
    refused = third.maia("up", "--skip-checks", check=False)
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert line.startswith(f"maia: {checkpoint}: the state contradicts itself (eval ")
    mend = line.partition("itself (")[2].removesuffix(")").replace("maia env", f"{REPO / 'maia'} env")
    subprocess.run(["bash", "-c", f"{mend} --yes"], env=third.environment, check=True, timeout=300)
    third.maia("up", "--skip-checks")
    assert _previewed(third) == set()


def test_down_stops_everything_and_up_brings_the_data_back(third: Appliance) -> None:
    with database.administer(_postgres(third)) as link:
        link.execute("create table kept as select generate_series(1, 1000) as n")
    admin = _administer_redis(third)
    admin.set("kept", "yes")
    assert admin.execute_command("WAITAOF", 1, 0, 10000)[0] == 1
    third.maia("down")
    assert _containers(third) == {}
    assert not [left for left in third.leftovers() if left.startswith("network")]
    status = json.loads(third.maia("status", "--json").stdout)
    assert status["running"] is False
    third.maia("up", "--skip-checks")
    with database.administer(_postgres(third)) as link:
        assert link.execute("select count(*) from kept").fetchone() == (1000,)
    assert _administer_redis(third).get("kept") == "yes"


def test_destroy_asks_for_the_name_and_then_leaves_nothing(third: Appliance) -> None:
    before = sorted(third.leftovers())
    name = third.name
    for refused, mend in ((("destroy",), f"--yes {name}"), (("destroy", "--yes", "thrid"), f"type {name}")):
        done = third.maia(*refused, check=False)
        assert done.returncode == 1
        assert mend in done.stderr
        assert sorted(third.leftovers()) == before
    third.maia("destroy", "--yes", third.name)
    assert third.leftovers() == []
    assert [path for path in third.root.rglob("*") if third.name in path.name] == []
    assert third.site.passphrase.exists(), "it may open other stacks"
