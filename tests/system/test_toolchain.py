"""The engine, the Docker provider and the language host that we build run a program from up to destroy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.site import REPO, Site
from infra.toolchain import pulumi
from tests import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = """
import pulumi
import pulumi_docker as docker
from notes import Note

config = pulumi.Config()
docker.Network("network", name="maia-test-toolchain", internal=True)
docker.Volume("volume", name="maia-test-toolchain")
note = Note("note", config.require_secret("text"), config.get("hold") or "")
pulumi.export("text", note.text)
"""

NOTES = '''
import time
from pathlib import Path

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


def hold(path):
    """Says that it began, and ends once the file is gone."""
    if path:
        Path(path).touch()
        while Path(path).exists():
            time.sleep(0.05)


class Provider(ResourceProvider):
    def create(self, props):
        hold(props["hold"])
        return CreateResult("note", {"text": props["text"]})

    def diff(self, _id, old, new):
        return DiffResult(changes=old["text"] != new["text"])

    def update(self, _id, old, new):
        hold(new["hold"])
        return UpdateResult({"text": new["text"]})


class Note(Resource):
    text: pulumi.Output[str]

    def __init__(self, name, text, hold):
        super().__init__(Provider(), name, {"text": text, "hold": hold})
'''


class Project:
    """A small project in a site of its own, run with the environment that `maia env` prints."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "site")
        self.site.state.mkdir(parents=True)
        self.site.passphrase.write_text("for this test only\n")
        self.root = folder / "project"
        self.root.mkdir()
        (self.root / "Pulumi.yaml").write_text("name: toolchain-test\nruntime: python\n")
        (self.root / "__main__.py").write_text(PROGRAM)
        (self.root / "notes.py").write_text(NOTES)
        own = pulumi.prepare(lambda line: None).environment(self.site, "test")
        self.environment = os.environ | own | {"PULUMI_OPTION_CWD": str(self.root)}
        self.environment["PYTHONPATH"] += f":{self.root}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", "--non-interactive", *arguments],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=180)
        assert process.returncode == code, said
        return said

    def pending(self) -> list[str]:
        state = json.loads(self.run("stack", "export"))
        return [entry["type"] for entry in state["deployment"].get("pending_operations") or []]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    made.run("stack", "init", "test")
    made.run("config", "set", "--secret", "text", "a word nobody says")
    try:
        yield made
    finally:
        made.run("cancel", "--yes")
        made.run("config", "rm", "hold")
        made.run("destroy", "--yes", "--skip-preview")


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until ``condition`` holds; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


def plugins_of(project: Project) -> list[str]:
    """Command lines of what the engine of this project started and that still runs."""
    mark = f"PULUMI_BACKEND_URL={project.site.state.as_uri()}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line]


def docker_names(kind: str) -> list[str]:
    listed = subprocess.run(
        ["docker", kind, "ls", "--filter", "name=maia-test-toolchain", "--format", "{{.Name}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return listed.stdout.split()


def test_a_program_goes_up_agrees_with_itself_and_leaves_nothing(project: Project) -> None:
    said = project.run("up", "--yes", "--skip-preview")
    assert "4 created" in said
    assert docker_names("network") == docker_names("volume") == ["maia-test-toolchain"]

    assert "4 unchanged" in project.run("preview", "--expect-no-changes")
    assert "4 unchanged" in project.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")

    state = "".join(path.read_text() for path in project.site.state.rglob("*.json"))
    assert "maia-test-toolchain" in state
    assert "a word nobody says" not in state + said

    assert "4 deleted" in project.run("destroy", "--yes", "--skip-preview")
    assert docker_names("network") == docker_names("volume") == []
    eventually(lambda: plugins_of(project) == [])


def test_a_volume_removed_by_hand_is_seen_and_made_again(project: Project) -> None:
    project.run("up", "--yes", "--skip-preview")
    subprocess.run(["docker", "volume", "rm", "maia-test-toolchain"], check=True, capture_output=True)
    assert "1 to create" in project.run("preview", "--refresh")
    assert "1 created" in project.run("up", "--yes", "--skip-preview", "--refresh")
    assert docker_names("volume") == ["maia-test-toolchain"]


def test_a_network_that_cannot_be_looked_at_is_not_taken_for_gone(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("up", "--yes", "--skip-preview")
    with relay.losing(tmp_path / "docker.sock", r"GET \S*/networks/[0-9a-f]{64}") as address:
        with monkeypatch.context() as patch:
            patch.setitem(project.environment, "DOCKER_HOST", address)
            said = project.run("refresh", "--yes", "--skip-preview", code=1)
    assert "cannot be looked at: " in said
    assert "4 unchanged" in project.run("up", "--yes", "--skip-preview", "--refresh")


def held_up(project: Project, tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """An `up` in the midst of an update."""
    project.run("up", "--yes", "--skip-preview")
    held = tmp_path / "held"
    project.run("config", "set", "hold", str(held))
    project.run("config", "set", "--secret", "text", "another word")
    process = project.start("up", "--yes", "--skip-preview")
    eventually(held.exists)
    return process, held


def test_an_interrupted_up_ends_its_plugins_and_leaves_nothing_pending(project: Project, tmp_path: Path) -> None:
    process, held = held_up(project, tmp_path)
    process.send_signal(signal.SIGINT)
    held.unlink()
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "update canceled" in said
    eventually(lambda: plugins_of(project) == [])
    assert project.pending() == []
    assert "4 unchanged" in project.run("up", "--yes", "--skip-preview")


def test_a_killed_up_ends_its_plugins_and_the_next_one_recovers(project: Project, tmp_path: Path) -> None:
    process, held = held_up(project, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: plugins_of(project) == [])
    held.unlink()
    assert project.pending() == ["updating"]

    assert "currently locked" in project.run("up", "--yes", "--skip-preview", code=1)
    project.run("cancel", "--yes")
    project.run("config", "rm", "hold")
    assert "1 updated" in project.run("up", "--yes", "--skip-preview", "--refresh")
    assert project.pending() == []


def test_making_and_removing_a_stack_by_hand_writes_nothing_into_the_repository(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.state.mkdir(parents=True)
    site.passphrase.write_text("for this test only\n")
    environment = os.environ | pulumi.prepare(lambda line: None).environment(site, "elsewhere")

    def stacks() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((REPO / "stacks").iterdir())}

    before = stacks()
    for verb in (
        ["stack", "init", "elsewhere"],
        ["config", "set", "key", "value"],
        ["config", "set", "--secret", "hidden", "value"],
        ["stack", "rm", "elsewhere", "--yes", "--preserve-config"],
    ):
        subprocess.run(
            ["pulumi", "--non-interactive", *verb], cwd=REPO, env=environment, check=True, capture_output=True
        )
    assert stacks() == before
    assert "encryptionsalt" in site.stack_file("elsewhere").read_text()
