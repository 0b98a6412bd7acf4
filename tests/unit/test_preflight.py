"""Nothing is changed on a machine that cannot carry the stack; the reason and its mend are one line."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import preflight
from infra.errors import MaiaError
from infra.plan import Plan
from infra.preflight import Facts
from infra.site import Site

Planned = Callable[..., Plan]

GOOD = Facts(
    python=(3, 11),
    system=("debian", "12"),
    root=True,
    apt=True,
    disk={"/var/lib/docker": 20 * 1024},
    memory=8 * 1024,
    docker="answers",
)


def problems(plan: Plan, **changes: object) -> list[str]:
    return [str(problem) for problem in preflight.judge(plan, dataclasses.replace(GOOD, **changes))]  # type: ignore[arg-type]


def test_a_good_machine_is_let_through(planned: Planned) -> None:
    assert problems(planned()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"python": (3, 10)}, "python: Python 3.10 is too old"),
        ({"system": ("fedora", "42")}, "/etc/os-release: fedora 42 is not supported"),
        ({"root": False}, "user: root is needed"),
        ({"root": False, "docker": "absent"}, "docker: Docker is not installed, and installing it needs root"),
        ({"docker": "absent", "apt": False}, "docker: Docker is not installed, and there is no apt-get"),
        ({"docker": "refused", "root": False}, "docker.sock: permission denied"),
        ({"snapshotter": True}, "docker: Docker keeps images in containerd's store"),
        ({"cluster": "15"}, "postgres: the data is of Postgres 15, this release has 17"),
        ({"disk": {"/var/lib/docker": 9 * 1024}}, "/var/lib/docker: 9.0 GB free, 10 GB are needed"),
        ({"sockets": "/" + "a" * 110}, "is longer than a socket's path may be (set MAIA_SITE to one whose path is at"),
        ({"memory": 2 * 1024}, "memory: 2.0 GB available, 3 GB are needed"),
        ({"busy": (("127.0.0.1", 8443),)}, "maia:gateway.https: port 8443 is in use on 127.0.0.1"),
        ({"taken": (("10.61.2.0/23", "the interface tun0"),)}, "maia:subnet: 10.61.2.0/24 overlaps 10.61.2.0/23 of"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_one_line_with_its_mend(
    planned: Planned, changes: dict[str, object], told: str
) -> None:
    (problem,) = problems(planned(), **changes)
    assert told in problem
    assert problem.endswith("; nothing changed yet)")
    assert "\n" not in problem


def test_docker_is_installed_by_root_where_it_is_absent(planned: Planned) -> None:
    assert problems(planned(), docker="absent") == []
    assert problems(planned(), docker="down") == []


def test_a_stack_that_was_started_needs_no_room_for_a_first_start(planned: Planned) -> None:
    assert problems(planned(), started=True, memory=100, disk={"/": 100}) == []


def test_all_problems_are_found_at_once(planned: Planned) -> None:
    assert len(problems(planned(), memory=1, disk={"/": 1}, busy=(("127.0.0.1", 8443),))) == 3


def test_a_port_that_something_listens_on_is_found(planned: Planned, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        plan = planned({"gateway": {"https": port}}, stack="preflight")
        assert ("127.0.0.1", port) in preflight.gather(plan, Site(tmp_path)).busy
    assert preflight.gather(plan, Site(tmp_path)).busy == ()


def test_check_raises_the_first_problem(planned: Planned, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        plan = planned({"gateway": {"https": port}}, stack="preflight")
        with pytest.raises(MaiaError, match="nothing changed yet"):
            preflight.check(plan, Site(tmp_path), lambda text: None)


def test_a_socket_that_answers_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    assert preflight.docker_state(path) in ("absent", "down")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert preflight.docker_state(path) == "answers"
    assert preflight.docker_state(path) in ("absent", "down")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom a socket refuses")
def test_a_socket_that_refuses_is_no_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    tmp_path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            os.write(writer, preflight.docker_state(path).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"refused"


def test_this_machine_has_no_route_of_its_own_twice(planned: Planned, tmp_path: Path) -> None:
    facts = preflight.gather(planned(stack="preflight"), Site(tmp_path))
    assert all(network != "0.0.0.0/0" for network, _ in facts.taken)  # the default route is no clash
