"""A host that refuses what was not named: probed from outside, from inside and from its containers."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet
from tests.system.mutations import until

EDGE, INNER = "10.99.1", "10.99.2"
EXIT = f"{EDGE}.5"
OWN, PUBLISHED, UNNAMED = 9000, 8443, 8444
"""Ports: served by the host itself; published by a container; published too, and not in the rules."""
HOST = f"{EDGE}.1"
"""The host, as a container sees it."""
SETUP = f"""
tar -C / -c bin lib lib64 | docker import - host >/dev/null
docker network create --subnet {EDGE}.0/24 edge >/dev/null
docker network create --subnet {INNER}.0/24 inner >/dev/null
run() {{ docker run --detach --restart=always --volume /usr:/usr:ro "$@" >/dev/null; }}
run --name web --network edge -p {PUBLISHED}:8000 -p {UNNAMED}:8000 host python3 -m http.server 8000
run --name exit --network edge --ip {EXIT} host sleep infinity
run --name inner --network inner --ip {INNER}.5 host python3 -m http.server 8000
systemd-run --quiet python3 -m http.server {OWN}
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


@pytest.fixture(scope="module")
def outside(host: Target) -> Iterator[tuple[str, list[int]]]:
    """This machine as the host sees it, with ports at which it takes connections."""
    address = host.sh("ip -4 route show default").split()[2]
    servers = [socket.create_server((address, 0)) for _ in range(4)]

    def serve(server: socket.socket) -> None:
        while server.fileno() >= 0:
            try:
                server.accept()[0].close()
            except OSError:
                return

    for server in servers:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
    yield address, [server.getsockname()[1] for server in servers]
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture(scope="module")
def wanted(outside: tuple[str, list[int]]) -> dict[str, Any]:
    """Variables of the role: what is named."""
    address, (exit_port, own_port, package_port, _) = outside
    return {
        "firewall_published": [{"port": PUBLISHED}],
        "firewall_networks": [{"subnet": f"{EDGE}.0/24", "reachable": True}, {"subnet": f"{INNER}.0/24"}],
        "firewall_exits": [{"source": EXIT, "ports": [exit_port]}],
        "firewall_outbound": [{"destinations": [address], "ports": [own_port], "user": "deploy"}],
        "firewall_package_ports": [80, 443, package_port],
    }


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Target]:
    """A bare Debian 12 server."""
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    yield Target(lab.up("role-firewall-12", quiet, release="12"))
    lab.down(quiet)


def _server(host: Target) -> Server:
    assert isinstance(host.on, Server)
    return host.on


def _open(host: Target, port: int) -> bool:
    """Whether a port of the host takes connections from here."""
    try:
        socket.create_connection((_server(host).address, port), 2).close()
    except OSError:
        return False
    return True


def _reaches(host: Target, address: str, port: int, *, user: str = "deploy", container: str = "") -> bool:
    """Whether a user of the host, or a container there, can connect."""
    words = ["docker", "exec", container] if container else ["runuser", "-u", user, "--"]
    said = _server(host).run("sudo", *words, "python3", "-c", CONNECT, address, str(port))
    assert said.returncode == 0 or "Error" in said.stderr, said.stderr
    return said.returncode == 0


def _refused(host: Target, where: str) -> int:
    found = re.search(r"packets (\d+)", host.sh(f"nft list counter inet maia {where}"))
    assert found
    return int(found[1])


def _docker_rules(host: Target) -> str:
    """Docker's own, without the numbers that rise."""
    return re.sub(r"^#.*\n|\[\d+:\d+\]", "", host.sh("iptables-save"), flags=re.MULTILINE)


def test_what_would_change_is_said_and_left(host: Target) -> None:
    assert "firewall : Write the rules" in host.apply("firewall", check=True)
    assert host.sh("command -v nft || echo none") == "none\n"


def test_without_a_variable_the_host_can_still_be_reached_and_fetch_packages(host: Target) -> None:
    assert host.apply("firewall")
    assert host.sh("apt-get --quiet update && apt-get --quiet --simulate install docker.io")
    assert host.apply("firewall") == []
    assert host.apply("firewall", check=True) == []


def test_docker_and_its_rules_are_left_alone(host: Target, wanted: dict[str, Any]) -> None:
    host.apply("docker")
    host.sh(SETUP)
    before = _docker_rules(host)
    assert "DOCKER-USER" in before
    assert "firewall : Write the rules" in host.apply("firewall", **wanted)
    assert _docker_rules(host) == before
    assert host.apply("firewall", **wanted) == []
    assert host.apply("firewall", check=True, **wanted) == []


def test_only_named_ports_answer_from_outside(host: Target) -> None:
    before = _refused(host, "refused_in"), _refused(host, "refused_through")
    until(lambda: _open(host, PUBLISHED), "the published port answers")
    assert _open(host, 22)
    assert not _open(host, OWN)
    assert not _open(host, UNNAMED)
    assert _refused(host, "refused_in") > before[0]
    assert _refused(host, "refused_through") > before[1]


def test_the_host_itself_reaches_only_what_is_named(host: Target, outside: tuple[str, list[int]]) -> None:
    address, (exit_port, own_port, package_port, _) = outside
    before = _refused(host, "refused_out")
    assert _reaches(host, address, own_port)
    assert not _reaches(host, address, own_port, user="nobody")
    assert not _reaches(host, address, exit_port, user="root")
    assert _reaches(host, address, package_port, user="_apt")
    assert not _reaches(host, address, package_port)
    assert _refused(host, "refused_out") >= before + 3
    assert _reaches(host, "127.0.0.1", OWN)
    assert _reaches(host, f"{EDGE}.5", 1) is False  # a container's, where nobody listens: not the filter's doing
    assert _reaches(host, f"{INNER}.5", 8000)


def test_containers_leave_by_the_exit_alone(host: Target, outside: tuple[str, list[int]]) -> None:
    address, (exit_port, own_port, *_) = outside
    before = _refused(host, "refused_through")
    assert _reaches(host, address, exit_port, container="exit")
    assert not _reaches(host, address, own_port, container="exit")
    assert not _reaches(host, address, exit_port, container="web")
    assert not _reaches(host, address, exit_port, container="inner")
    assert _refused(host, "refused_through") >= before + 3
    assert "packets 1 " in host.sh("nft list counter inet maia granted_exits")


def test_containers_reach_neither_other_networks_nor_the_host(host: Target) -> None:
    assert _reaches(host, "web", 8000, container="exit"), "those of one network meet"
    assert not _reaches(host, f"{INNER}.5", 8000, container="exit")
    assert not _reaches(host, HOST, OWN, container="exit")
    assert not _reaches(host, HOST, 22, container="inner")


def test_what_is_refused_is_logged_but_not_without_end(host: Target) -> None:
    """Said by the rules: the kernel keeps its log for its first host."""
    for chain in ("refuse_in", "refuse_through", "refuse_out"):
        assert re.search(r"limit rate 30/minute .*log prefix", host.sh(f"nft list chain inet maia {chain}"))
    for hook in ("input", "forward", "output"):
        assert re.search(r"hook \w+ priority filter; policy drop;", host.sh(f"nft list chain inet maia {hook}"))


def test_rules_that_lock_out_give_way_to_the_former(host: Target, wanted: dict[str, Any]) -> None:
    with pytest.raises(MaiaError, match="Keep the rules, by a new connection"):
        host.apply("firewall", **wanted | {"firewall_ssh_sources": ["192.0.2.0/24"], "firewall_patience": 15})
    until(lambda: _open(host, 22), "ssh is back")
    assert _open(host, PUBLISHED)
    assert not _open(host, OWN)
    assert host.apply("firewall", **wanted)
    assert host.apply("firewall", **wanted) == []


def test_a_run_that_was_killed_is_rolled_back(host: Target) -> None:
    """It loaded rules and never came to confirm them."""
    host.sh("cd /etc/maia/firewall; sed 's/tcp dport 22 /tcp dport 2222 /' kept.nft >wanted.nft; maia-firewall try 5")
    assert not _open(host, 22)
    until(lambda: _open(host, 22), "ssh is back")
    said = _server(host).run("sudo", "maia-firewall", "keep")
    assert (said.returncode, said.stderr) == (1, "too late: the former rules are back\n")
    assert not _open(host, OWN)


def test_a_connection_from_before_confirms_nothing(host: Target) -> None:
    script = "cp /etc/maia/firewall/kept.nft /etc/maia/firewall/wanted.nft; maia-firewall try 4; maia-firewall keep"
    said = _server(host).run("sudo", "sh", "-c", script)
    assert (said.returncode, said.stderr) == (1, "this connection is older than the rules: it proves nothing\n")
    until(lambda: host.sh("maia-firewall state") == "kept\n", "the kept rules are back")


def test_rules_are_there_after_a_restart_before_anything_listens(host: Target) -> None:
    docker.from_env().containers.get(_server(host).name).restart()
    until(lambda: _open(host, 22), "ssh answers")
    until(lambda: _open(host, PUBLISHED), "the published port answers")
    until(lambda: host.sh("docker ps --quiet || true").count("\n") == 3, "Docker has started its containers")
    assert not _open(host, UNNAMED)
    order = host.sh("systemctl show --property=ActiveState,Before maia-firewall.service")
    assert "ActiveState=active" in order
    assert "network-pre.target" in order


def test_removed_it_leaves_docker_as_it_was(host: Target) -> None:
    before = _docker_rules(host)
    assert host.apply("firewall", entry="remove")
    assert _open(host, UNNAMED)
    assert _docker_rules(host) == before
    assert (
        host.sh("ls /etc/systemd/system/maia-firewall.service /usr/local/sbin/maia-firewall 2>/dev/null || true") == ""
    )
    assert host.apply("firewall", entry="remove") == []


def test_an_image_gets_the_rules_for_its_first_start(image: Target, wanted: dict[str, Any]) -> None:
    assert image.apply("firewall", **wanted)
    assert image.apply("firewall", **wanted) == []
    assert f"tcp dport {PUBLISHED} accept" in image.sh("cat /etc/maia/firewall/kept.nft")
    link = "/etc/systemd/system/sysinit.target.wants/maia-firewall.service"
    assert image.sh(f"readlink -e {link}") == "/etc/systemd/system/maia-firewall.service\n"
    assert image.sh("stat --format=%a /etc/maia/firewall/kept.nft") == "600\n"
    assert image.apply("firewall", entry="remove")
    assert image.apply("firewall", entry="remove") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"firewall_ssh_sources": ["10.0.0.0/33"]},
        {"firewall_published": [{"port": 70000}]},
        {"firewall_exits": [{"source": "anywhere; accept"}]},
        {"firewall_outbound": [{"destinations": ["10.0.0.1"], "ports": [25], "user": "nobody-of-this-name"}]},
    ],
)
def test_rules_that_make_no_sense_never_get_there(image: Target, wrong: dict[str, Any]) -> None:
    image.apply("firewall")
    before = image.sh("sha256sum /etc/maia/firewall/kept.nft")
    with pytest.raises(MaiaError, match="Write the rules"):
        image.apply("firewall", **wrong)
    assert image.sh("sha256sum /etc/maia/firewall/kept.nft") == before


@pytest.mark.long
def test_debian_12_is_closed_too(older: Target) -> None:
    named: dict[str, Any] = {"firewall_published": [{"port": OWN}], "firewall_networks": [{"subnet": f"{EDGE}.0/24"}]}
    assert older.apply("firewall", check=True, **named)
    assert older.apply("firewall", **named)
    assert older.apply("firewall", **named) == []
    older.sh(f"systemd-run --quiet python3 -m http.server {OWN}; systemd-run --quiet python3 -m http.server {UNNAMED}")
    until(lambda: _open(older, OWN), "the named port answers")
    assert not _open(older, UNNAMED)
    with pytest.raises(MaiaError, match="Keep the rules, by a new connection"):
        older.apply("firewall", firewall_ssh_port=2222, firewall_patience=15)
    until(lambda: _open(older, 22), "ssh is back")
    assert older.apply("firewall", entry="remove")
