"""Servers of a stack: taken over from bare, brought to their roles by one ``up``, kept from drift, given back.

The program is a copy of this one whose roles are small ones of the tests' own, so that what is tried here is how roles
are carried out, and not what they do.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from infra import catalog, initialise
from infra.hosts.lent import MEMORY
from infra.lab import Lab
from infra.releases import version
from infra.site import Site
from infra.ssh import Server
from tests import releases
from tests.conftest import Appliance
from tests.roles import quiet
from tests.servers import ARCHIVES, given, letting_in, root

ROLES = Path(__file__).parent / "roles"
STACK = "hosts"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The folder of the hosts' owner."""
    site = Site(tmp_path_factory.mktemp("hosts") / "site")
    initialise.make_site(site)
    return site


@pytest.fixture(scope="module")
def lab(site: Site) -> Iterator[Lab]:
    lab = Lab(site, docker.from_env())
    yield lab
    lab.down(quiet)


@pytest.fixture(scope="module")
def made(lab: Lab, site: Site) -> Iterator[Appliance]:
    """A stack without parts, of a program with roles of the tests' own; it goes before its hosts do."""
    program = releases.checkout(site.root.parent / "program", version())
    shutil.rmtree(program / "roles")
    shutil.copytree(ROLES, program / "roles")
    values: dict[str, Any] = {"version": 1, "subnet": "10.70.0.0/20", "backup": {"at": None}, "parts": {}}
    stack = Appliance(STACK, site.root, values, program)
    stack.disable(*(service.name for service in catalog.SERVICES))
    yield stack
    if stack.site.stack_file(STACK).exists():
        stack.maia("destroy", "--yes", STACK)


@pytest.fixture(scope="module")
def one(lab: Lab, made: Appliance) -> Server:
    """A bare server that the stack file names."""
    server = letting_in(lab, "hosts-one", made.site)
    made.write({"hosts": {"one": given(server, roles={"base": {"word": "first", "key": "secret:base-key"}})}})
    return server


def test_up_takes_a_bare_server_over_and_carries_its_roles_out(made: Appliance, one: Server) -> None:
    done = made.maia("up", "--skip-checks")
    assert "first contact: its key is pinned, SHA256:" in done.stdout
    assert "base : Write the word" in done.stderr, "progress"
    assert root(one, "cat /etc/tried") == "first (container)\n"
    mark = json.loads(root(one, "cat /etc/maia/host.json"))
    assert (mark["stack"], mark["host"], mark["whole"]) == (STACK, "one", True)
    assert root(one, "id -nG maia; passwd --status maia").split()[:3] == ["maia", "maia", "L"]


def test_the_secret_reached_the_server_and_lies_nowhere_else(made: Appliance, one: Server) -> None:
    value = made.secret("base-key")
    assert root(one, "cat /etc/tried.key") == value
    assert root(one, "stat -c %a:%U /etc/tried.key") == "400:root\n"
    for folder in (made.site.root, MEMORY, *Path(tempfile.gettempdir()).glob("maia-*")):
        found = subprocess.run(["grep", "-rlF", value, folder], capture_output=True, text=True)
        assert found.stdout == "", "in clear"
    # Not by sudo, whose log would have the value.
    command = ["docker", "exec", "--interactive", one.name, "grep", "-rlFf", "-"]
    places = ["/etc", "/home", "/root", "/tmp", "/var/log", "/run"]
    found = subprocess.run([*command, *places], input=value, capture_output=True, text=True)
    assert found.stdout == "/etc/tried.key\n"


def test_a_second_up_runs_nothing_and_says_so(made: Appliance) -> None:
    done = made.maia("up", "--skip-checks")
    assert "changes: none" in done.stdout
    assert "nothing that feeds its roles has changed" in done.stderr
    assert "base :" not in done.stderr


def test_plan_and_status_tell_of_the_server(made: Appliance, one: Server) -> None:
    assert f"host: one at {one.address}:22: base" in made.maia("plan").stdout
    assert f"host: one at {one.address}: prepared" in made.maia("status").stdout
    assert "debian 13" in made.maia("host", "list").stdout


def test_preview_shows_the_tasks_that_a_change_of_the_stack_file_brings(made: Appliance, one: Server) -> None:
    made.write({"hosts": {"one": given(one, roles={"base": {"word": "second", "key": "secret:base-key"}})}})
    said = made.maia("preview").stdout
    assert "host one: base : Write the word" in said
    assert "-first (container)" in said
    assert "+second (container)" in said
    assert made.secret("base-key") not in said
    assert root(one, "cat /etc/tried") == "first (container)\n"


def test_what_feeds_a_role_is_changed_and_its_roles_are_carried_out(made: Appliance, one: Server) -> None:
    assert "1 update" in made.maia("up", "--skip-checks").stdout
    assert root(one, "cat /etc/tried") == "second (container)\n"


def test_drift_is_shown_without_being_touched_and_mended_when_asked(made: Appliance, one: Server) -> None:
    root(one, "echo by hand >/etc/tried")
    said = made.maia("drift", check=False)
    assert said.returncode == 1
    assert "one: drift: base : Write the word" in said.stdout
    assert root(one, "cat /etc/tried") == "by hand\n"
    assert "1 update" in made.maia("up", "--skip-checks", "--refresh").stdout
    assert root(one, "cat /etc/tried") == "second (container)\n"
    assert "no drift" in made.maia("drift").stdout


def test_packages_are_upgraded_and_what_a_restart_is_wanted_for_is_said(made: Appliance, one: Server) -> None:
    root(one, ARCHIVES)
    root(one, "touch /run/reboot-required")
    said = made.maia("host", "upgrade", check=False)
    assert said.returncode == 1, "something is left to do"
    assert int(said.stdout.split("one: ")[1].split(" upgraded")[0]) >= 2
    assert "one: a restart is wanted for package unknown" in said.stdout
    assert root(one, "dpkg-query --show --showformat='${Version} ' common urgent; cat /etc/common.conf") == (
        "2 2 changed here\n"
    )
    root(one, "rm /run/reboot-required /etc/apt/sources.list.d/test.list; dpkg --purge urgent common")
    assert "one: 0 upgraded" in made.maia("host", "upgrade", "one", "--restart").stdout


def test_an_administrator_who_leaves_is_out_everywhere(made: Appliance, one: Server) -> None:
    who = [{"name": name, "reason": "on call", "keys": ["ssh-ed25519 AAAA"]} for name in ("first", "second")]
    roles = {"base": {"word": "second", "key": "secret:base-key"}, "users": {"admins": who}}
    made.write({"hosts": {"one": given(one, roles=roles)}})
    made.maia("up", "--skip-checks")
    assert root(one, "cat /etc/tried.admins") == "first second\n"
    assert "first: out of the list of one" in made.maia("host", "offboard", "first").stdout
    made.maia("up", "--skip-checks")
    assert root(one, "cat /etc/tried.admins") == "second\n"
    assert "no server has the administrator 'first'" in made.maia("host", "offboard", "first", check=False).stderr


def test_the_key_that_opens_servers_is_exchanged_also_where_that_was_broken_off(made: Appliance, one: Server) -> None:
    own = dataclasses.replace(one, name="one", user="maia", key=made.site.key, known=made.site.known(STACK, "one"))
    former = made.site.key.with_suffix(".pub").read_text().split()[1]
    root(one, "systemctl stop ssh.socket ssh || true")
    assert "does not answer" in made.maia("host", "rotate", check=False).stderr
    assert made.site.key.with_suffix(".pub").read_text().split()[1] == former, "it opens all servers as before"
    docker.from_env().containers.get(one.name).exec_run(["systemctl", "start", "ssh"])
    said = made.maia("host", "rotate").stdout
    key = made.site.key.with_suffix(".pub").read_text().split()[1]
    assert key != former
    assert key in said
    assert {path.name for path in made.site.key.parent.iterdir() if path.is_file()} == {"id_ed25519", "id_ed25519.pub"}
    assert own.run("true").returncode == 0
    held = root(one, f"cat /home/maia/.ssh/authorized_keys ~{one.user}/.ssh/authorized_keys")
    assert key in held
    assert former not in held
    assert "changes: none" in made.maia("up", "--skip-checks").stdout, "it is still ours, as it was left"


def test_a_server_with_another_key_is_refused_until_it_is_trusted(made: Appliance, one: Server) -> None:
    root(one, "rm /etc/ssh/ssh_host_*; ssh-keygen -q -N '' -t ed25519 -f /etc/ssh/ssh_host_ed25519_key")
    line = root(one, "cat /etc/ssh/ssh_host_ed25519_key.pub; systemctl restart ssh")
    one.known.write_text(f"{one.name} {line}")
    said = made.maia("up", check=False).stderr
    assert "shows another key than the pinned one: SHA256:" in said
    assert "maia host trust one" in said
    shown = made.maia("host", "trust", "one", check=False)
    assert "there is no terminal" in shown.stderr
    fingerprint = shown.stdout.split("shown:")[1].split()[0]
    assert "no consent" in made.maia("host", "trust", "one", "--yes", "SHA256:x", check=False).stderr
    made.maia("host", "trust", "one", "--yes", fingerprint)
    assert "changes: none" in made.maia("up", "--skip-checks").stdout


def test_a_pack_of_evidence_holds_what_the_server_answered(made: Appliance, tmp_path: Path) -> None:
    said = made.maia("evidence", "--to", str(tmp_path)).stdout
    (path,) = tmp_path.glob("evidence-hosts-*.zip")
    assert f"evidence: {path}, signed" in said
    with zipfile.ZipFile(path) as pack:
        report, asked = (json.loads(pack.read(f"{path.stem}/{name}.json")) for name in ("report", "commands"))
    assert report["hosts"]["one"]["version"] == "13"
    assert any(each["command"].startswith("sshd") and each["code"] == 0 for each in asked["one"])
    assert sum(each["check"].startswith("host[one-") for each in report["checks"]) > 150
    assert f"genuine: {path.stem}" in made.maia("evidence", "verify", str(path)).stdout


def test_a_second_server_is_added_carried_out_and_given_back(lab: Lab, made: Appliance) -> None:
    two = letting_in(lab, "hosts-two", made.site)
    said = made.maia("host", "add", "two", two.address, "--login", two.user, "--kernel", "shared").stdout
    assert "two: debian 13" in said
    assert "is there already" in made.maia("host", "add", "two", two.address, check=False).stderr
    assert "1 create" in made.maia("up", "--skip-checks").stdout
    assert root(two, "cat /etc/tried") == "hello (container)\n"
    made.maia("host", "drain", "two")
    made.maia("host", "remove", "two")
    said = made.maia("up", "--skip-checks").stdout
    assert "1 delete" in said
    assert "what stays there: the user maia" in said
    assert root(two, "ls -d /etc/tried /etc/maia 2>&1 || true").count("No such file") == 2


def test_a_server_that_is_no_more_is_forgotten_without_being_asked(lab: Lab, made: Appliance) -> None:
    two = lab.server("hosts-two")
    made.maia("host", "add", "two", two.address, "--login", two.user, "--kernel", "shared")
    assert "1 create" in made.maia("up", "--skip-checks").stdout
    lab.down(quiet, ["hosts-two"])
    assert "two: forgotten" in made.maia("host", "remove", "two", "--gone").stdout
    assert not made.site.known(STACK, "two").exists()
    assert "no drift" in made.maia("drift").stdout


def test_a_machine_in_the_place_of_another_is_taken_over_anew(lab: Lab, made: Appliance, one: Server) -> None:
    again = letting_in(lab, "hosts-again", made.site)
    lab.down(quiet, ["hosts-one"])
    assert again.address != one.address
    made.maia("host", "replace", "one", again.address)
    done = made.maia("up", "--skip-checks")
    assert "first contact" in done.stdout
    assert root(again, "cat /etc/tried") == "second (container)\n"


def test_destroy_gives_the_server_back_and_says_what_stays(made: Appliance, lab: Lab) -> None:
    server = lab.server("hosts-again")
    said = made.maia("destroy", "--yes", STACK)
    assert "what stays there: the user maia" in said.stderr
    assert root(server, "ls -d /etc/tried /etc/tried.key /etc/maia 2>&1 || true").count("No such file") == 3
    assert made.leftovers() == []
