"""Faults of input and machine: each is one line with its mend, a non-zero exit, and nothing is changed by it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.images import debian, store
from tests.conftest import Appliance

IMAGE = "redis"


def _refused(appliance: Appliance, *arguments: str) -> str:
    """The last line, with which a verb was refused; it is no traceback and changed nothing."""
    before = sorted(appliance.leftovers()), _files(appliance.root)
    done = appliance.maia(*arguments, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert (sorted(appliance.leftovers()), _files(appliance.root)) == before
    line = done.stderr.splitlines()[-1]
    assert line.startswith("maia: "), said
    assert "fault of maia's own" not in line
    return line


def _files(root: Path) -> dict[str, bytes]:
    """Everything of a site that is no lock."""
    return {
        str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.parent != root / "locks"
    }


def test_a_port_in_use_is_named_with_its_key(throwaway: Appliance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        throwaway.write({"gateway": throwaway.values["gateway"] | {"https": port}})
        line = _refused(throwaway, "up")
    assert f"maia:gateway.https: port {port} is in use on 127.0.0.1" in line
    assert "choose another port; nothing changed yet" in line


def test_a_subnet_in_use_is_named_with_who_has_it(throwaway: Appliance) -> None:
    subprocess.run(["docker", "network", "create", "--subnet", "10.69.3.0/24", "maia-fault"], check=True)
    try:
        throwaway.write({"subnet": "10.69.0.0/20"})
        line = _refused(throwaway, "up")
    finally:
        subprocess.run(["docker", "network", "rm", "maia-fault"], check=True)
    assert "10.69.3.0/24 overlaps 10.69.3.0/24 of the Docker network maia-fault" in line
    assert "choose another private /20" in line


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gatway": {}}, "maia:gatway: unknown key (did you mean 'gateway'?)"),
        ({"parts": {"prometheus": {"memroy": 512}}}, "maia:parts.prometheus.memroy: unknown key, found 512 (did you"),
        ({"parts": {"postgres": {"memory": "lots"}}}, "maia:parts.postgres.memory: "),
        ({"parts": {"postgers": {}}}, "maia:parts.postgers: unknown part (did you mean 'postgres'?)"),
        ({"version": 99}, "maia:version: the stack file has version 99, this release reads up to 1 (use the release"),
        ({"parts": {"postgres": {"memory": 10_000_000}}}, "maia:parts.postgres.memory: the parts' limits add up to"),
        (
            {"parts": {"redis": {"enabled": False}}},
            "maia:parts.redis.enabled: redis-exporter needs redis, which is not",
        ),
    ],
)
def test_a_wrong_stack_file_is_refused_by_key(throwaway: Appliance, change: dict[str, object], told: str) -> None:
    throwaway.write(change)
    assert told in _refused(throwaway, "up")


@pytest.mark.parametrize(
    ("verb", "where"),
    [
        *(("up", "unix://{}/nobody.sock"), ("up", "tcp://127.0.0.1:1")),
        *(("status", "unix://{}/nobody.sock"), ("restart redis", "unix://{}/nobody.sock")),
    ],
)
def test_a_docker_that_does_not_answer_is_told(
    throwaway: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, where: str
) -> None:
    before = throwaway.leftovers()
    monkeypatch.setattr(Appliance, "leftovers", lambda self: before)  # there is no Docker to ask
    monkeypatch.setenv("DOCKER_HOST", where.format(tmp_path))
    line = _refused(throwaway, *verb.split())
    assert "DOCKER_HOST" in line or "Docker does not answer" in line
    assert "unset it" in line or "maia doctor" in line


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a mirror that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/debian"


@pytest.fixture
def closed() -> str:
    """The address of a mirror at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/debian"


def _build(appliance: Appliance, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (debian.MIRROR, debian.SECURITY):
        monkeypatch.setenv(name, mirror)
    there = store.lookup(IMAGE)
    line = _refused(appliance, "images", "build", IMAGE, "--fresh")
    assert debian.MIRROR in line
    assert "check the network" in line
    assert store.lookup(IMAGE) == there


def test_an_unreachable_mirror_is_told(throwaway: Appliance, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _build(throwaway, closed, monkeypatch)


@pytest.mark.long  # the fetcher's own bounds
def test_a_mirror_that_hangs_is_given_up(throwaway: Appliance, deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _build(throwaway, deaf, monkeypatch)
