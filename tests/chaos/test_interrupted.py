"""Whatever stops ``maia up``, and wherever, the next one ends green: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from infra.components import cache, database
from tests.conftest import Appliance, small
from tests.processes import family, kill_all

PATIENCE = 300
"""Seconds for anything that is waited for."""

PHASES = ("images: ", "secrets: secret", 0, 6, "creating Started|health: ")
"""What is being made is told once a second, so that a quick machine may never say one of its words: a count is always
told in the end, and so is the step after it."""


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with small(tmp_path_factory.mktemp("chaos") / "site") as made:
        yield made


def _until(process: subprocess.Popen[str], point: str | int) -> None:
    """Return once the verb has said one of the words (``|`` between them), or that so many resources are done."""
    assert process.stdout
    heard = []
    for line in process.stdout:
        heard.append(line)
        done = re.search(r"pulumi up: (\d+) done", line)
        if int(done[1]) >= point if done and isinstance(point, int) else _says(line, point):
            return
    process.communicate()
    raise AssertionError(f"it never came to {point!r}:\n{''.join(heard[-40:])}")


def _says(line: str, point: str | int) -> bool:
    return isinstance(point, str) and any(word in line for word in point.split("|"))


def _kill_alone(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _restarted(third: Appliance, part: str) -> bool:
    return bool(_container(third, part).attrs["RestartCount"] == 1)


def _wait(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE} s for: {what}"
        time.sleep(0.2)


def _container(third: Appliance, part: str) -> Container:
    return docker.from_env().containers.get(third.stack.plan.container(part).name)


def _assert_whole(third: Appliance) -> None:
    """Just what the plan says is there, once, known to the engine and well."""
    plan, client = third.stack.plan, docker.from_env()
    prefix = f"maia-{third.name}-"
    names = [str(each.name) for each in client.containers.list(all=True, filters={"name": prefix})]
    assert sorted(names) == sorted(container.name for container in plan.containers)
    networks = [str(each.name) for each in client.networks.list() if str(each.name).startswith(prefix)]
    assert sorted(networks) == sorted(network.name for network in plan.networks)
    assert third.stack.secret_names >= set(plan.secrets)
    assert json.loads(third.maia("status", "--json").stdout)["well"]
    assert "nothing to change" in third.maia("preview").stdout


# First, since the stack of the others would have the same name.
@pytest.mark.long
@pytest.mark.parametrize("kill", [kill_all, _kill_alone])
@pytest.mark.parametrize("point", ["preflight: ", "images: ", "secrets: secret", 0, 2, 4, 8, 12, 16, 20, "health: "])
def test_up_killed_at_any_point_is_finished_by_the_next(
    throwaway: Appliance, point: str | int, kill: Callable[[subprocess.Popen[str]], None]
) -> None:
    process = throwaway.start("up", "--skip-checks")
    _until(process, point)
    kill(process)
    throwaway.maia("up", "--skip-checks")
    _assert_whole(throwaway)


def test_up_killed_at_one_phase_after_the_other_goes_on_from_there(third: Appliance) -> None:
    for phase in PHASES:
        process = third.start("up", "--skip-checks")
        _until(process, phase)
        kill_all(process)
    secrets = third.stack.secret_names
    third.maia("up", "--skip-checks")
    _assert_whole(third)
    assert third.stack.secret_names == secrets


def test_up_killed_alone_takes_its_engine_along_and_the_next_one_waits_for_nothing(third: Appliance) -> None:
    _container(third, "gateway").remove(force=True)
    process = third.start("up", "--skip-checks")
    _until(process, "looking at what is there")
    engines = [pid for pid in family(process.pid) if pid != process.pid]
    _kill_alone(process)
    _wait("the engine has ended", lambda: not any(Path(f"/proc/{pid}").exists() for pid in engines))
    third.maia("up", "--skip-checks")
    _assert_whole(third)


def test_up_killed_while_it_checks_loses_nothing(third: Appliance) -> None:
    process = third.start("up")
    _until(process, "checks: ")
    kill_all(process)
    _assert_whole(third)


def test_ctrl_c_ends_it_in_good_order(third: Appliance) -> None:
    memory = {"prometheus": {"memory": 384}}
    third.write({"parts": third.values["parts"] | memory})
    _container(third, "redis-exporter").remove(force=True)
    process = third.start("up", "--skip-checks")
    _until(process, 0)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "maia: interrupted (run it again, it continues)"
    assert "Traceback" not in said
    third.maia("up", "--skip-checks")
    _assert_whole(third)


def test_the_data_stores_come_back_by_themselves_with_their_data(third: Appliance) -> None:
    socket = str(third.site.sockets(third.name) / "postgres")
    admin = {
        "socket": str(third.site.sockets(third.name) / "redis"),
        "admin": str(third.site.files(third.name) / "administrators" / "redis"),
    }
    with database.administer(socket) as link:
        link.execute("create table survived as select generate_series(1, 1000) as n")
    link = cache.administer(admin)
    link.set("survived", "yes")
    assert link.execute_command("WAITAOF", 1, 0, 10000)[0] == 1
    for part in ("postgres", "redis"):
        container = _container(third, part)
        os.kill(int(container.attrs["State"]["Pid"]), signal.SIGKILL)
        _wait(f"{part} was started again", partial(_restarted, third, part))
    _wait("all parts are well", lambda: third.maia("status", check=False).returncode == 0)
    with database.administer(socket) as link:
        assert link.execute("select count(*) from survived").fetchone() == (1000,)
    assert cache.administer(admin).get("survived") == "yes"
    _assert_whole(third)
