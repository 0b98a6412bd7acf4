"""What can be wrong with a server: each is told in one line with its mend, and the next run goes on.

The tests follow one lab host from bare to taken over; what they break, they put right.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from infra import converge, initialise, plan, ssh
from infra.errors import MaiaError
from infra.hosts import ADOPT, facts, reach, work
from infra.hosts.lent import alone
from infra.hosts.mark import FILE
from infra.hosts.voice import Voice
from infra.hosts.work import Order
from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests import servers
from tests.roles import quiet

ROLES = Path(__file__).parent / "roles"
VOICE = Voice(say=quiet, note=quiet)
HOLDER = (
    "import fcntl, os, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
    "print(os.getpid(), flush=True); time.sleep(600)"
)


@pytest.fixture(scope="module", autouse=True)
def roles() -> Iterator[None]:
    """Small roles of the tests' own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(converge, "ROLES", ROLES)
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("faults") / "site")
    initialise.make_site(site)
    return site


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    lab = Lab(site, docker.from_env())
    yield servers.letting_in(lab, "hosts-faults", site)
    lab.down(quiet)


@pytest.fixture
def order(site: Site, server: Server) -> Order:
    return ordered(site, server, "base")


def ordered(site: Site, server: Server, role: str, **changes: Any) -> Order:
    host = plan.Host(
        name="one",
        address=server.address,
        port=22,
        login=server.user,
        kind="container",
        roles=(plan.HostRole(name=role, variables={}),),
        secrets=(),
    )
    return Order(site=site, stack="hosts", host=dataclasses.replace(host, **changes), roles={role: work.content(role)})


def inside(server: Server, script: str) -> str:
    """What the host's root says without ssh or sudo."""
    command = ["docker", "exec", server.name, "sh", "-euc", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def broken(server: Server, broken: str, mended: str) -> Iterator[None]:
    inside(server, broken)
    try:
        yield
    finally:
        inside(server, mended)


def refusal(order: Order) -> str:
    """What is said of a server that is not worked on."""
    with pytest.raises(MaiaError) as refused:
        work.carry_out(order, VOICE)
    assert "\n" not in str(refused.value)
    assert refused.value.mend
    return str(refused.value)


def test_a_server_where_nobody_listens_is_told_by_its_address(order: Order) -> None:
    asked = dataclasses.replace(order, host=dataclasses.replace(order.host, port=1))
    assert f"host one: does not answer at {order.host.address}:1: Connection refused (start it" in refusal(asked)


def test_a_server_that_knows_another_key_is_told_which_to_let_in(order: Order, tmp_path: Path) -> None:
    stranger = Site(tmp_path / "site")
    initialise.make_site(stranger)
    said = refusal(dataclasses.replace(order, site=stranger))
    assert "host one: does not let deploy in (let this key in as deploy there: ssh-ed25519 " in said
    assert not stranger.known("hosts", "one").exists(), "a server that did not let us in is not pinned"


def test_a_user_who_does_not_become_root_is_refused(order: Order, server: Server) -> None:
    with broken(server, "mv /etc/sudoers.d/lab /srv/", "mv /srv/lab /etc/sudoers.d/"):
        assert "host one: the user that logs in does not become root" in refusal(order)


def test_another_distribution_is_refused(order: Order, server: Server) -> None:
    change = "sed -i s/^ID=.*/ID={}/ /usr/lib/os-release"
    with broken(server, change.format("fedora"), change.format("debian")):
        assert "host one: fedora 13 is not supported (use Debian 12 or 13)" in refusal(order)


def test_a_container_that_the_stack_file_calls_a_machine_is_refused(order: Order, server: Server) -> None:
    asked = dataclasses.replace(order, host=dataclasses.replace(order.host, kind="machine"))
    assert "maia:hosts.one.kernel: shares its kernel (docker), and the stack file says own" in refusal(asked)
    lie = "cp -p /usr/bin/systemd-detect-virt /srv/; printf '#!/bin/sh\\necho none\\n' >/usr/bin/systemd-detect-virt"
    with broken(server, lie, "mv /srv/systemd-detect-virt /usr/bin/"):
        assert "its kernel is its own, and shows none of a kernel's threads" in refusal(asked)


def test_a_full_disk_is_told_before_anything_is_tried(order: Order, server: Server) -> None:
    place = "/var/cache/apt/archives"
    with broken(server, f"mount -t tmpfs -o size=64m tmpfs {place}", f"umount {place}"):
        assert f"MiB free in {place}, 1024 are needed (free some disk space there)" in refusal(order)


def test_whoever_holds_apt_is_told_after_a_while(order: Order, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "LOCKED", 2.0)
    with _holding_apt(server) as pid:
        assert f"host one: apt is held by python3 (pid {pid}) for more than 2 s" in refusal(order)


def test_nothing_of_all_that_changed_the_server(server: Server) -> None:
    assert inside(server, "ls /home") == "deploy\n"
    assert "maia" not in inside(server, "ls /etc /etc/sudoers.d; cut -d: -f1 /etc/group").split()


def test_python_is_brought_where_it_is_missing_and_apt_waited_for(order: Order, server: Server) -> None:
    inside(server, "DEBIAN_FRONTEND=noninteractive apt-get -qy purge python3 python3-minimal python3.13-minimal 2>&1")
    assert inside(server, "command -v python3 || echo none") == "none\n"
    said: list[str] = []
    work.carry_out(order, Voice(say=said.append, note=said.append))
    assert "making the user maia, and installing Python" in said
    assert inside(server, "cat /etc/tried") == "hello (container)\n"


def test_a_run_goes_on_once_apt_is_free(order: Order, server: Server) -> None:
    with _holding_apt(server) as pid:
        told: list[str] = []

        def hear(text: str) -> None:
            told.append(text)
            if "waiting for python3" in text:
                inside(server, f"kill {pid} || true")

        work.carry_out(order, Voice(say=hear, note=quiet))
    assert any("waiting for python3" in text for text in told)


def test_a_second_run_at_once_is_told_of_the_first(order: Order, site: Site) -> None:
    with reach.linked(ssh.server(site, "hosts", order.host.name, order.host)) as link:
        with alone(link, "stack hosts (pid 1)"):
            assert "host one: another run works on it: stack hosts (pid 1) (wait for it to end)" in refusal(order)
    work.carry_out(order, VOICE)


def test_a_server_of_another_stack_changes_hands_only_when_asked(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(order, stack="other")
    other.site.known("other", "one").parent.mkdir(parents=True)
    other.site.known("other", "one").write_text(order.site.known("hosts", "one").read_text())
    assert "host one: is the host one of the stack hosts (if it is to change hands: maia up --adopt one)" in refusal(
        other
    )
    monkeypatch.setenv(ADOPT, "one")
    work.carry_out(other, VOICE)
    monkeypatch.delenv(ADOPT)
    assert "is the host one of the stack other" in refusal(order)
    monkeypatch.setenv(ADOPT, "one")
    work.carry_out(order, VOICE)


def test_a_connection_that_is_cut_in_the_middle_is_taken_up_by_the_next_run(site: Site, server: Server) -> None:
    order = ordered(site, server, "slow")
    cut = threading.Event()

    def hear(text: str) -> None:
        if "slow : Take its time" in text and not cut.is_set():
            cut.set()
            inside(server, "systemctl stop ssh.socket ssh.service 2>/dev/null || true; pkill -KILL sshd || true")

    with pytest.raises(MaiaError, match=r"it continues\)$"):
        work.carry_out(order, Voice(say=hear, note=quiet))
    assert cut.is_set()
    assert json.loads(inside(server, f"cat {FILE}"))["whole"] is False
    inside(server, "systemctl start ssh")
    found = work.drift(order, VOICE, thorough=False)
    assert found is not None
    assert found[1] == [work.UNFINISHED]
    work.carry_out(order, VOICE)
    assert json.loads(inside(server, f"cat {FILE}"))["whole"] is True


def test_a_dead_mirror_is_told_with_where_to_look(site: Site, server: Server) -> None:
    source = "deb [trusted=yes] http://127.0.0.1:9/debian trixie main"
    away = "mkdir /srv/apt; mv /etc/apt/sources.list* /srv/apt/; rm -rf /var/lib/apt/lists/*"
    dead = f"{away}; echo '{source}' >/etc/apt/sources.list"
    with broken(server, dead, "rm /etc/apt/sources.list; mv /srv/apt/* /etc/apt/; rmdir /srv/apt"):
        said = refusal(ordered(site, server, "installed"))
    assert said.startswith("role installed on one: Install a package: ")
    assert "its mirror of packages is not as it should be: run apt-get update there" in said


def test_a_server_whose_mark_is_gone_is_nobodys(order: Order, server: Server) -> None:
    inside(server, f"rm {FILE}")
    assert work.drift(order, VOICE, thorough=False) is None
    work.take_back(order, VOICE)
    work.carry_out(order, VOICE)


@contextmanager
def _holding_apt(server: Server) -> Iterator[str]:
    """Somebody installs packages there; yields the process."""
    inside(server, f'setsid --fork python3 -c "{HOLDER}" >/run/holder </dev/null')
    inside(server, "until [ -s /run/holder ]; do :; done")
    pid = inside(server, "cat /run/holder").strip()
    try:
        yield pid
    finally:
        inside(server, f"kill {pid} 2>/dev/null || true; rm /run/holder")
