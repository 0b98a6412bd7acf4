"""What is done on another machine is done there as it would be here, and nothing else is asked of that machine."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from checks import probe, reader
from checks.look import tree
from infra import atomic, clusters, machine, presented
from infra.engine import Engine
from infra.errors import MaiaError
from infra.place import CALL, HERE, HOME, There, of
from infra.relay import PROGRAM, Relay
from infra.site import REPO, Site
from infra.ssh import Server
from infra.stack import Stack
from infra.toolchain.pulumi import Toolchain

CARRIED = (atomic, clusters, machine, presented, probe, reader)
"""Modules whose functions are carried out on servers."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One to which ssh is a shell of this machine, which says what it was asked."""
    fake = tmp_path / "bin" / "ssh"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{tmp_path}/asked\nfor last; do :; done\nexec sh -c "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Server(name="one", address="192.0.2.1", user="root", key=tmp_path / "key", known=tmp_path / "known")


@pytest.mark.parametrize("module", CARRIED, ids=lambda module: module.__name__)
def test_what_is_carried_out_there_needs_nothing_but_python(module: ModuleType) -> None:
    tree = ast.parse(Path(module.__file__ or "").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_nothing_else_is_carried_out_there() -> None:
    texts = (path.read_text() for folder in ("infra", "checks") for path in (REPO / folder).rglob("*.py"))
    asked = {name for text in texts for name in re.findall(r"\.(?:call|apart)\(\s*([\w.]+)\.\w+,", text)}
    known = {module.__name__.rpartition(".")[2] for module in CARRIED}
    assert asked <= known | {"facts", "machines", "program"}, "by the names under which they are imported"


def test_a_function_is_carried_out_there_as_here(server: Server, tmp_path: Path) -> None:
    assert tuple(There(server).call(machine.size)) == machine.size()
    There(server).call(atomic.clear, str(tmp_path / "none"))
    assert HERE.apart(atomic.look, str(tmp_path / "none")) is None


def test_what_it_is_given_shows_in_no_list_of_processes(server: Server, tmp_path: Path) -> None:
    assert There(server).call(atomic.look, "/none/hunter2") is None
    asked = (tmp_path / "asked").read_text()
    assert "python3 -I -S -c" in asked
    assert "hunter2" not in asked


def test_an_error_of_the_system_there_is_one_here(server: Server) -> None:
    with pytest.raises(FileNotFoundError):
        There(server).call(atomic.read, "/none")
    with pytest.raises(NotADirectoryError):
        There(server).call(atomic.read, "/etc/passwd/none")


def test_a_server_that_cannot_be_reached_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'ssh: connect to host: No route' >&2\nexit 255\n")
    with pytest.raises(MaiaError, match=r"^server one: cannot be reached: ssh: connect to host: No route"):
        There(server).call(machine.size)
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    with pytest.raises(MaiaError, match=r"^server one: shows another key than the pinned one .* maia host trust one"):
        There(server).call(machine.size)


def test_one_who_is_not_root_there_asks_sudo(server: Server, tmp_path: Path) -> None:
    other = dataclasses.replace(server, user="maia")
    assert other.as_root("python3", "-c", "1 + 1") == "sudo -n python3 -c '1 + 1'"
    assert server.as_root("true") == "true"


def test_a_resource_finds_its_place_again(server: Server) -> None:
    assert of({}) == HERE
    assert HERE.inputs == {}
    kept = json.loads(json.dumps({"server": {**There(server).inputs["server"], "port": 22.0}}))  # as the engine does
    assert of(kept) == There(server)


def test_a_connection_is_shared_only_with_who_reaches_the_server_in_the_very_same_way(server: Server) -> None:
    assert dataclasses.replace(server).meeting == server.meeting
    for change in ({"key": Path("/other")}, {"known": Path("/other")}, {"user": "other"}, {"address": "192.0.2.2"}):
        assert dataclasses.replace(server, **change).meeting != server.meeting
    assert server.meeting.stat().st_mode & 0o777 == 0o700
    server.meeting.chmod(0o755)
    with pytest.raises(MaiaError, match="is not ours alone"):
        server.command("true", shared=True)


def test_a_socket_here_leads_to_one_there(tmp_path: Path) -> None:
    there = tmp_path / "there.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(there))
    listener.listen()

    def echo() -> None:
        for _ in range(2):
            link, _ = listener.accept()
            with link:
                link.sendall(_all(link))  # once its writer has ended

    threading.Thread(target=echo, daemon=True).start()
    relay = Relay(tmp_path, "here.sock", [sys.executable, "-I", "-S", "-c", PROGRAM, str(there)])
    for sent in (b"x" * 3_000_000, b"again"):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(relay.path)
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
            assert _all(link) == sent
    listener.close()


def _all(link: socket.socket) -> bytes:
    return b"".join(iter(lambda: link.recv(1 << 16), b""))


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = tmp_path / f"{done.stdout.strip()}-0"
    left.mkdir()
    relay = Relay(tmp_path, "s", ["true"])
    assert not left.exists()
    assert Path(relay.path).parent.stat().st_mode & 0o777 == 0o700
    Relay(tmp_path, "s", ["true"])
    assert Path(relay.path).exists(), "who lives keeps his"


def test_the_parts_own_files_are_known_to_who_looks_for_what_is_nobodys() -> None:
    assert f"{HOME}/" == tree.PARTS


def test_the_programs_that_go_there_are_small() -> None:
    assert len(CALL) + len(PROGRAM) < 2000, "sudo writes them down at each connection"


@pytest.mark.parametrize(("was", "wanted"), [("one", ""), ("", "one"), ("one", "two")])
def test_a_stack_is_not_moved_away_from_its_data(tmp_path: Path, was: str, wanted: str) -> None:
    engine = Engine(Toolchain(tmp_path), Site(tmp_path), "afar")
    engine.refuse_elsewhere(wanted)
    outputs = {"running": False, **({"on": was} if was else {})}
    resources = [{"urn": "urn:x", "type": "pulumi:pulumi:Stack", "outputs": outputs}]
    engine.checkpoint.parent.mkdir(parents=True)
    engine.checkpoint.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    engine.refuse_elsewhere(was)
    with pytest.raises(MaiaError, match=rf"^maia:on: its parts run on {was or 'this machine'}, and their data"):
        engine.refuse_elsewhere(wanted)


def test_of_a_server_that_was_never_met_no_size_is_too_large(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.stack_file("afar").parent.mkdir()
    hosts = {"one": {"address": "192.0.2.1"}}
    values = {"maia:hosts": hosts, "maia:on": "one", "maia:gateway": {"address": "192.0.2.1"}}
    values["maia:parts"] = {"postgres": {"memory": 800_000}}
    site.stack_file("afar").write_text(json.dumps({"config": values}))
    stack = Stack("afar", site)
    assert not stack.met
    assert stack.plan.on == "one"
    assert stack.home == Site(HOME / "afar")
    assert Stack("afar", Site(tmp_path / "none")).place == HERE, "of what nobody knows, nothing is elsewhere"
