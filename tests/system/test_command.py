"""The command line with the real engine: what `init` makes, what is refused, and that `destroy` leaves nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra import cli
from infra.site import REPO, Site

Capture = pytest.CaptureFixture[str]

STACK = "command"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with one stack, initialised and never brought up."""
    monkeypatch.setenv("MAIA_SITE", str(tmp_path / "site"))
    monkeypatch.setenv("MAIA_STACK", STACK)
    made = Site.current()
    path = made.stack_file(STACK)
    path.parent.mkdir(parents=True)
    path.write_text("# of the owner's own\nconfig:\n  maia:version: 1\n")
    assert cli.main(["init"]) == 0
    return made


def content(site: Site) -> dict[str, tuple[bytes, int]]:
    """Every file of the site that is no lock."""
    return {
        str(path.relative_to(site.root)): (path.read_bytes(), path.stat().st_mode)
        for path in site.root.rglob("*")
        if path.is_file() and path.parent.name != "locks"
    }


def refused(capture: Capture, *argv: str) -> str:
    capture.readouterr()
    assert cli.main(argv) == 1
    lines = capture.readouterr().err.splitlines()
    assert lines[-1].startswith("maia: ")
    return lines[-1]


def test_init_twice_changes_nothing_and_keeps_the_clone_clean(site: Site, capsys: Capture) -> None:
    first = content(site)
    assert cli.main(["init"]) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert content(site) == first
    left = subprocess.run(["git", "status", "--porcelain", "stacks"], cwd=REPO, capture_output=True, text=True)
    assert STACK not in left.stdout


def test_what_init_makes_is_private_and_encrypted(site: Site, capsys: Capture) -> None:
    assert site.root.stat().st_mode & 0o777 == 0o700
    assert site.passphrase.stat().st_mode & 0o777 == 0o600
    assert len(site.passphrase.read_text()) >= 43  # 256 bits
    capsys.readouterr()
    assert cli.main(["secrets", "show", "operator"]) == 0
    value = capsys.readouterr().out.strip()
    assert len(value) == 32
    assert all(value.encode() not in data for data, _ in content(site).values())
    assert "# of the owner's own" in site.stack_file(STACK).read_text()


def test_a_wrong_passphrase_is_told_and_mended_by_the_right_one(site: Site, capsys: Capture) -> None:
    right = site.passphrase.read_text()
    site.passphrase.write_text("another one")
    line = refused(capsys, "secrets", "show", "operator")
    assert "passphrase does not open the stack's secrets" in line
    assert str(site.passphrase) in line
    site.passphrase.write_text(right)
    assert cli.main(["secrets", "show", "operator"]) == 0


def test_a_lost_passphrase_is_never_replaced_by_a_new_one(site: Site, capsys: Capture) -> None:
    site.passphrase.unlink()
    assert "put it back from your copy" in refused(capsys, "init")
    assert not site.passphrase.exists()


def test_a_damaged_state_file_is_told_with_the_copy_that_mends_it(site: Site, capsys: Capture) -> None:
    checkpoint = site.state / ".pulumi" / "stacks" / "maia" / f"{STACK}.json"
    whole = checkpoint.read_bytes()
    checkpoint.with_suffix(".json.bak").write_bytes(whole)
    checkpoint.write_bytes(whole[: len(whole) // 2])
    line = refused(capsys, "down")
    assert "the state file is damaged" in line
    assert f"cp {checkpoint}.bak {checkpoint}" in line


def test_a_secret_that_does_not_exist_is_met_with_the_nearest(site: Site, capsys: Capture) -> None:
    assert "did you mean 'operator'?" in refused(capsys, "secrets", "show", "operater")
    assert "no secret 'ca-key'" in refused(capsys, "secrets", "rotate", "ca-key")


def test_destroy_leaves_nothing_of_the_stack(site: Site) -> None:
    assert cli.main(["destroy", "--yes", STACK]) == 0
    left = [path for path in content(site) if STACK in path]
    assert left == []
    assert site.passphrase.exists()  # it may open other stacks
