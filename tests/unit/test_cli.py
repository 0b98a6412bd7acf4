"""The command line: what a person types wrong is told in one line, and nothing is lost or left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from infra import bundle, cli
from infra.cli import common
from infra.errors import MaiaError
from infra.progress import Progress
from infra.site import REPO, Site
from infra.stack import Stack

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MAIA_SITE", str(tmp_path / "site"))
    monkeypatch.delenv("MAIA_STACK", raising=False)
    return Site.current()


def stack_file(site: Site, text: str, stack: str = "local") -> Path:
    path = site.stack_file(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(capture: Capture, *argv: str) -> str:
    """The one line on standard error with which a command was refused."""
    assert cli.main(argv) == 1
    said = capture.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("maia: ")
    return line


def test_every_verb_says_what_it_does(capsys: Capture) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb in cli.VERBS:
        assert f"\n  {verb} " in said


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_of_its_own(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert "--stack NAME" in capsys.readouterr().out


def test_a_misspelled_verb_is_met_with_the_nearest(capsys: Capture) -> None:
    assert "unknown verb 'stauts' (did you mean 'status'?)" in refused(capsys, "stauts")


def test_a_misspelled_option_is_refused(capsys: Capture) -> None:
    assert "--jsn" in refused(capsys, "plan", "--jsn")
    assert "--js" in refused(capsys, "plan", "--js")


def test_the_stack_may_be_named_in_front_of_the_verb_behind_it_and_behind_its_action(
    site: Site, capsys: Capture
) -> None:
    stack_file(site, "config: {}\n", "second")
    for argv in (("--stack", "second", "secrets", "list"), ("secrets", "--stack", "second", "list"),
                 ("secrets", "list", "--stack", "second")):  # fmt: skip
        assert cli.main(argv) == 0
        assert "operator" in capsys.readouterr().out
    assert "unknown stack 'nope'" in refused(capsys, "plan", "--stack", "nope")


def test_the_ca_alone_is_rotated_in_two_steps_and_only_as_a_whole(site: Site, capsys: Capture) -> None:
    stack_file(
        site, "config:\n  secrets:operator: {secure: x}\n  secrets:ca-crt: {secure: x}\n  secrets:ca-key: {secure: x}\n"
    )
    assert "in one step (maia secrets rotate operator)" in refused(capsys, "secrets", "rotate", "operator", "--finish")
    for name in ("ca-key", "ca-next"):
        assert f"no secret '{name}'" in refused(capsys, "secrets", "rotate", name)


def test_a_misspelled_key_is_refused_with_its_path_and_the_nearest(site: Site, capsys: Capture) -> None:
    stack_file(site, "config:\n  maia:gateway:\n    htps: 1\n")
    line = refused(capsys, "plan")
    assert "maia:gateway.htps" in line
    assert "did you mean 'https'?" in line


def test_a_stack_file_from_a_newer_version_is_refused(site: Site, capsys: Capture) -> None:
    stack_file(site, "config:\n  maia:version: 99\n")
    assert "version 99" in refused(capsys, "plan")


def test_a_stack_file_that_is_no_yaml_is_refused_with_the_line(site: Site, capsys: Capture) -> None:
    stack_file(site, "config:\n  maia:version: [1\n")
    assert "not YAML, line 3" in refused(capsys, "plan")


def test_a_stack_that_does_not_exist_is_refused(site: Site, capsys: Capture) -> None:
    assert "'nowhere'" in refused(capsys, "plan", "--stack", "nowhere")


@pytest.mark.parametrize("verb", [["status"], ["down"], ["destroy", "--yes", "local"], ["logs", "redis"], ["preview"]])
def test_what_needs_a_stack_says_how_to_have_one(site: Site, capsys: Capture, verb: list[str]) -> None:
    assert "maia up --stack local" in refused(capsys, *verb)
    assert not site.root.exists()


def test_the_plan_is_data_and_makes_nothing(site: Site, capsys: Capture) -> None:
    assert cli.main(["plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stack"] == "local"
    assert not site.root.exists()


@pytest.mark.parametrize("verb", [["up"], ["init"]])
def test_the_second_verb_says_who_holds_the_lock(site: Site, capsys: Capture, verb: list[str]) -> None:
    with common.locked(Stack("local", site), "up"):
        line = refused(capsys, *verb)
    assert f"held by maia up (pid {os.getpid()}) since " in line
    assert "wait for it to end" in line


HOLDER = """
import sys
from infra.cli import common
from infra.site import Site
from infra.stack import Stack

with common.locked(Stack("local", Site.current()), "up"):
    print(flush=True)
    sys.stdin.read()
"""


def test_a_lock_ends_with_its_holder(site: Site) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin
    assert holder.stdout
    holder.stdout.readline()
    stack = Stack("local", site)
    with pytest.raises(MaiaError, match=f"pid {holder.pid}"), common.locked(stack, "down"):
        pass
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with common.locked(stack, "down"):
        assert "maia down" in site.lock("local").read_text()


def test_destroy_asks_for_the_name_and_never_without_a_terminal(
    site: Site, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_file(site, "config:\n  maia:version: 1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("local\n"))
    assert "maia destroy --stack local --yes local" in refused(capsys, "destroy")
    assert "'locl' is not the stack's name" in refused(capsys, "destroy", "--yes", "locl")
    assert site.stack_file("local").exists()


def test_a_fault_of_our_own_is_one_line_and_a_log(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Stack) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(Stack, "plan", property(broken))
    line = refused(capsys, "plan")
    assert "ZeroDivisionError: by nought" in line
    log = Path(line.rpartition(" ")[2].rstrip(")"))
    assert "Traceback" in log.read_text()
    log.unlink()


def test_an_interrupted_verb_says_that_it_can_be_run_again(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Stack) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "plan", property(interrupted))
    assert cli.main(["plan"]) == 130
    assert "run it again, it continues" in capsys.readouterr().err


def test_of_several_jobs_the_first_failure_is_told_at_once() -> None:
    never = threading.Event()

    def fail() -> None:
        raise MaiaError("broken")

    try:
        with pytest.raises(MaiaError, match="broken"):
            common.together(fail, never.wait)
    finally:
        never.set()
    assert common.together(lambda: 1, lambda: 2) == [1, 2]


def test_progress_without_a_terminal_is_plain_lines_that_do_not_repeat() -> None:
    out = io.StringIO()
    with Progress(out) as progress, progress.step("images") as say:
        for number in range(100):
            say(f"compiling {number} of 100")
        say("packing")
    lines = [line.partition("] ")[2] for line in out.getvalue().splitlines()]
    assert lines[:2] == ["images: compiling 0 of 100", "images: packing"]
    assert lines[2].startswith("images: done after ")
    assert "\x1b" not in out.getvalue()


def test_progress_names_the_step_that_failed() -> None:
    out = io.StringIO()
    with pytest.raises(MaiaError), Progress(out) as progress, progress.step("engine"):
        raise MaiaError("broken")
    assert "engine: failed after" in out.getvalue()


SECRETS = [
    "s3cr3t-value_with-192-bits",
    "p/w+d=%{with} signs",
    "-----BEGIN KEY-----\nMIIBcontentofakey\n-----END KEY-----\n",
]


def test_a_support_bundle_holds_no_secret_in_any_form(tmp_path: Path) -> None:
    plain, odd, key = SECRETS
    texts = {
        "plain.log": f"password={plain} accepted",
        "url.log": "postgresql://x:p%2Fw%2Bd%3D%25%7Bwith%7D%20signs@postgres postgresql://x:p/w%2Bd%3D%25%7Bwith%7D%20signs@y",
        "data.json": json.dumps({"key": key, "odd": odd}),
        "key.pem": key,
    }
    target = tmp_path / "bundle.tar.gz"
    bundle.write(target, "maia", texts.items(), SECRETS)
    assert target.stat().st_mode & 0o077 == 0
    with tarfile.open(target) as archive:
        files = {name: archive.extractfile(f"maia/{name}") for name in texts}
        found = {name: file.read().decode() for name, file in files.items() if file}
    everything = "\n".join(found.values())
    for piece in ("s3cr3t", "signs", "MIIBcontent"):
        assert piece not in everything
    assert found["plain.log"] == f"password={bundle.HIDDEN} accepted"
    assert list(tmp_path.iterdir()) == [target]


def test_the_launcher_works_from_anywhere_and_leaves_the_clone_clean(tmp_path: Path) -> None:
    clone, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    shutil.copytree(REPO, clone, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))
    elsewhere.mkdir()
    (elsewhere / "maia").symlink_to(clone / "maia")
    (elsewhere / "infra").mkdir()
    (elsewhere / "infra" / "__init__.py").write_text("raise SystemExit('a module of the folder it was called in')")
    before = set(clone.rglob("*"))
    environment = os.environ | {"MAIA_SITE": str(tmp_path / "site")}
    done = subprocess.run(["./maia", "plan", "--json"], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stack"] == "local"
    assert set(clone.rglob("*")) == before
