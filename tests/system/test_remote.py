"""A stack whose parts run on another host: brought up, looked at, broken and removed over ssh alone."""

from __future__ import annotations

import dataclasses
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import psycopg
import pytest
from docker.models.containers import Container

from infra import initialise, ssh
from infra.components.database import administer
from infra.host import AUTOMATION
from infra.lab import Lab
from infra.place import HOME, There
from infra.releases import version
from infra.site import Site
from tests.conftest import Appliance
from tests.releases import checkout
from tests.roles import quiet
from tests.servers import given, letting_in
from tests.system.mutations import until

PATIENCE = 240
"""Seconds for anything that is waited for."""
HOST = "one"
SECRETS = re.compile(rf"{HOME}/afar/files/afar/[a-z-]+/secrets/")
"""Where the secrets of a part lie."""
WITHOUT = (
    *("alertmanager", "node-exporter", "blackbox-exporter", "exit", "backup", "minio", "s3"),
    *("postgres-exporter", "redis-exporter"),
)

WATCHED = "/var/lib/watched"
WATCH = f"""\
import os, time
seen = dict()
with open("{WATCHED}", "wb", 0) as out:
    while True:
        numbers = [name for name in os.listdir("/proc") if name.isdigit()]
        for path in ("/proc/" + number + "/" + name for number in numbers for name in ("cmdline", "environ")):
            try:
                with open(path, "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if seen.get(path) != text:
                seen[path] = text
                out.write(text + b"\\n")
        time.sleep(0.05)
"""
"""Writes down the command and the environment of every process that it meets."""


def _values(server: ssh.Server) -> dict[str, Any]:
    return {
        "version": 1,
        "gateway": {"names": ["maia.test"], "address": server.address},
        "backup": {"at": None},
        "hosts": {HOST: given(server, roles={"docker": {"hardened": True}})},
        "on": HOST,
        "parts": {
            "postgres": {"memory": 512},
            "redis": {"memory": 128},
            **{name: {"enabled": False} for name in WITHOUT},
        },
    }


@dataclass(frozen=True)
class Bare:
    """A server as who stands before it has it: past ssh, whose logins the roles restrict."""

    container: Container

    def sh(self, script: str) -> str:
        """What root's shell says; it must succeed."""
        done = self.container.exec_run(["bash", "-euc", script])
        assert isinstance(done.output, bytes)
        said = done.output.decode(errors="replace")
        assert done.exit_code == 0, said
        return said

    @property
    def logins(self) -> int:
        """How often the appliance has come in."""
        return self.sh("journalctl --no-pager --output cat").count(f"Accepted publickey for {AUTOMATION} ")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(Site(tmp_path_factory.mktemp("remote") / "site"), docker.from_env())
    yield made
    made.down(quiet)


@pytest.fixture(scope="module")
def host(lab: Lab) -> Bare:
    """A bare server that lets us in, and watches what runs on it."""
    site = Site(lab.home.parent)
    initialise.make_site(site)
    made = Bare(docker.from_env().containers.get(letting_in(lab, "remote", site).name))
    made.container.exec_run(["python3", "-c", WATCH], detach=True)
    return made


@pytest.fixture(scope="module")
def afar(lab: Lab, host: Bare) -> Appliance:
    """The stack, from a bare server to up and verified by one command."""
    made = Appliance("afar", lab.home.parent, _values(lab.server("remote")))
    made.write()
    made.maia("up")
    return made


def _answer(afar: Appliance) -> int:
    """What the gateway says to who comes from another host, trusting the stack's CA alone; 0 for nothing."""
    address = afar.values["gateway"]["address"]
    try:
        with httpx.Client(verify=ssl.create_default_context(cafile=afar.ca), trust_env=False, timeout=5) as client:
            extensions = {"sni_hostname": "maia.test"}
            url = f"https://{address}:8443/"
            return client.get(url, headers={"Host": "maia.test:8443"}, extensions=extensions).status_code
    except httpx.TransportError:
        return 0


def _postgres(afar: Appliance) -> AbstractContextManager[psycopg.Connection[tuple[Any, ...]]]:
    return administer(str(afar.stack.home.sockets("afar") / "postgres"), at=afar.stack.place)


def _all_well(afar: Appliance) -> bool:
    return re.search(r"\b(\d+) of \1 parts are well", afar.maia("status", check=False).stdout) is not None


def test_the_parts_run_on_the_server_and_not_here(afar: Appliance, host: Bare) -> None:
    assert _answer(afar) == 302
    running = host.sh("docker ps --format '{{.Names}}'").split()
    assert sorted(running) == sorted(f"maia-afar-{c.part}" for c in afar.stack.plan.containers)
    assert [left for left in afar.leftovers() if not left.startswith("path")] == []


def test_its_sshd_forwards_nothing_for_that(afar: Appliance, host: Bare) -> None:
    assert "disableforwarding yes" in host.sh("sshd -T")


def test_secrets_lie_there_for_their_part_and_the_root_alone(afar: Appliance, host: Bare) -> None:
    folder = HOME / "afar/files/afar/postgres/secrets"
    assert host.sh(f"stat -c '%a %u' {HOME / 'afar'} {folder}").splitlines() == ["700 0", "500 701"]
    assert set(host.sh(f"stat -c '%a %u' {folder}/*").splitlines()) == {"400 701"}
    assert not (afar.site.files("afar") / "postgres").exists()


def test_no_secret_is_in_a_list_of_processes_a_log_or_a_file_but_those_of_its_part(afar: Appliance, host: Bare) -> None:
    values = [afar.secret(name) for name in afar.stack.secret_names if not name.startswith(("ca", "evidence"))]
    log, watched = host.sh("journalctl --no-pager --output cat"), host.sh(f"cat {WATCHED}")
    assert "COMMAND=/usr/bin/python3" in log, "what sudo was asked is in it"
    assert "sudo\0-n\0python3\0-I\0-S\0-c" in watched, "what was carried out there was met"
    assert [value for value in values if value in log or value in watched] == []
    command = ["docker", "exec", "--interactive", str(host.container.name), "grep", "-rlFf", "-"]
    places = ["/etc", "/home", "/root", "/tmp", "/opt", "/srv", "/var/log", "/var/tmp", "/var/lib/docker/containers"]
    found = subprocess.run([*command, *places, HOME], input="\n".join(values), capture_output=True, text=True)
    assert [path for path in found.stdout.split() if not SECRETS.match(path)] == []
    assert any(SECRETS.match(path) for path in found.stdout.split()), "they are found where they belong"


def test_a_second_up_sends_and_changes_nothing(afar: Appliance) -> None:
    done = afar.maia("up", "--skip-checks")
    assert "changes: none" in done.stdout
    assert "sent" not in done.stderr


def test_of_an_image_only_the_layers_that_are_missing_are_sent(afar: Appliance, host: Bare) -> None:
    image = next(c.image_id for c in afar.stack.plan.containers if c.part == "redis")
    afar.maia("down")
    host.sh(f"docker rm -f maia-afar-redis; docker rmi -f {image}")
    done = afar.maia("up", "--skip-checks")
    (sent, whole) = map(float, re.findall(r"redis: ([0-9.]+) MB of ([0-9.]+) MB sent", done.stdout + done.stderr)[0])
    assert 0 < sent < whole / 3, "its difference, without the base that the other images have too"
    assert _answer(afar) == 302


def test_the_verbs_work_on_it(afar: Appliance) -> None:
    assert _all_well(afar)
    assert "Ready to accept connections" in afar.maia("logs", "redis").stdout
    assert "nothing is wrong" in afar.maia("doctor").stdout
    afar.maia("restart", "status")
    assert "nothing to apply" in afar.maia("db", "migrate").stdout
    assert afar.maia("db", "shell").returncode == 0
    refused = afar.maia("drill", check=False)
    assert "only for what runs on this machine, and afar runs on one" in refused.stderr


def test_after_a_restart_of_the_server_it_is_healthy_with_nobody_logged_in(afar: Appliance, host: Bare) -> None:
    before = host.logins
    host.container.restart(timeout=0)  # as a loss of power does
    until(lambda: _answer(afar) == 302, "the gateway answers", PATIENCE)
    assert 0 < host.logins <= before
    until(lambda: _all_well(afar), "all are well", PATIENCE)


def test_up_goes_on_where_the_loss_of_the_server_stopped_it(afar: Appliance, host: Bare) -> None:
    afar.write({"parts": {**afar.values["parts"], "redis": {"memory": 160}, "postgres": {"memory": 544}}})
    process = afar.start("up", "--skip-checks")
    assert process.stdout
    next(line for line in process.stdout if re.search(r"(replacing|creating) (Container|Started)", line))
    host.container.kill()
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    refused = afar.maia("status", check=False)
    assert re.search(r"^maia: server one: cannot be reached: ", refused.stderr), refused.stderr
    host.container.start()
    until(lambda: "parts are well" in afar.maia("status", check=False).stdout, "it lets us in", PATIENCE)
    afar.maia("up", "--skip-checks")
    assert "redis       running  healthy" in afar.maia("status").stdout
    assert "/ 160 MiB" in afar.maia("status").stdout


def test_a_server_with_another_key_is_not_spoken_to_until_it_is_trusted(afar: Appliance) -> None:
    known = afar.site.known("afar", HOST)
    pinned = known.read_text()
    place = afar.stack.place
    assert isinstance(place, There)
    subprocess.run(["ssh", *place.server.shared, "-O", "exit", HOST], capture_output=True, check=False)
    known.write_text(f"{HOST} {ssh.generate()[1]}\n")
    refused = afar.maia("status", check=False)
    assert "maia: server one: shows another key than the pinned one (if that is right, say so: " in refused.stderr
    shown = afar.maia("host", "trust", HOST, check=False).stdout.partition("shown:")[2].split()[0]
    afar.maia("host", "trust", HOST, "--yes", shown)
    assert known.read_text() == pinned
    assert _all_well(afar)


@pytest.mark.long
def test_a_point_is_made_there_and_comes_back_there(afar: Appliance, host: Bare) -> None:
    less = {name: each for name, each in afar.values["parts"].items() if name not in ("backup", "minio", "s3")}
    afar.write({"parts": less | {"minio": {"memory": 512}}})
    afar.maia("up", "--skip-checks")
    with _postgres(afar) as link:
        link.execute("create table kept as select 1 as one")
    assert "point:   " in afar.maia("backup").stdout
    assert "every byte of the archive" in afar.maia("backups", "verify").stdout
    assert "restic" in host.sh(f"ls {HOME}/afar/archive/afar")
    with _postgres(afar) as link:
        link.execute("drop table kept")
    host.sh("/usr/lib/systemd/systemd-sysctl --prefix=/net || true")  # it restarted, and there the unit is masked
    done = afar.maia("restore", "--no-last-chance")
    assert "compared: every table is what the point's manifest says" in done.stdout
    with _postgres(afar) as link:
        assert link.execute("select one from kept").fetchone() == (1,)
    assert host.sh(f"ls {HOME}/afar/restore 2>/dev/null || true") == "", "its secrets are gone"
    refused = afar.maia("restore", "--into", "other", check=False)
    assert "only for what runs on this machine, and afar runs on one" in refused.stderr


@pytest.mark.long
def test_the_next_release_comes_there_and_goes_back(afar: Appliance, tmp_path: Path) -> None:
    following = dataclasses.replace(afar, program=checkout(tmp_path / "next", "9.0.0", version()))
    assert f"upgraded: {version()} to 9.0.0" in following.maia("upgrade", "--skip-checks").stdout
    assert _all_well(following)
    assert f"release {version()} serves again" in following.maia("rollback", "--skip-checks").stdout
    assert _all_well(afar)
    with _postgres(afar) as link:
        assert link.execute("select one from kept").fetchone() == (1,), "what was written is kept"


def test_a_stack_does_not_move_by_its_stack_file_alone(afar: Appliance) -> None:
    there = dict(afar.values)
    afar.write({"on": None, "gateway": {"https": 38643, "http": None}, "subnet": "10.71.0.0/20"})
    refused = afar.maia("up", check=False)
    afar.write({"subnet": "10.61.0.0/20"} | there)
    assert "maia:on: its parts run on one, and their data with them" in refused.stderr


def test_a_stack_whose_server_is_gone_can_be_forgotten_without_asking_it(afar: Appliance, tmp_path: Path) -> None:
    copy = dataclasses.replace(afar, root=tmp_path / "site")
    shutil.copytree(afar.root, copy.root)
    copy.maia("destroy", "--yes", "afar", "--gone")
    assert copy.leftovers() == []
    assert not copy.site.known("afar", HOST).exists()
    assert _all_well(afar), "nothing was asked of it"


def test_destroy_leaves_nothing_there(afar: Appliance, host: Bare) -> None:
    afar.maia("destroy", "--yes", "afar")
    kept = "docker ps -aq; docker volume ls -q; docker network ls -q --filter type=custom"
    assert host.sh(kept) == ""
    assert host.sh(f"ls {HOME}") == ""
    assert afar.leftovers() == []
