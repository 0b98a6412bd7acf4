"""A host as a resource: what of a server lets it be worked on, what is a change, and how the work is told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from infra import converge, plan, remedy
from infra.components.host import HostProvider
from infra.events import Watch
from infra.hosts import facts, lent, work
from infra.hosts.facts import Facts

BARE = Facts(
    system=("debian", "13"),
    root=True,
    python="3.13",
    kernel="6.12.0",
    virtualisation="kvm",
    container=False,
    threads=True,
    machine="a" * 32,
    free=((20000, "/"),),
    apt="",
    mark=None,
)
HOST = plan.Host(name="one", address="192.0.2.10", port=22, login="root", kind="machine", roles=(), secrets=())
SHARED = dataclasses.replace(HOST, kind="container")
GUEST: dict[str, Any] = {"container": True, "threads": False, "virtualisation": "docker"}


@pytest.mark.parametrize(
    ("host", "changes", "says"),
    [
        (HOST, {}, []),
        (HOST, {"system": ("debian", "12")}, []),
        (HOST, {"system": ("ubuntu", "24.04")}, ["host one: ubuntu 24.04 is not supported"]),
        (HOST, {"root": False}, ["host one: the user that logs in does not become root"]),
        (HOST, GUEST, ["maia:hosts.one.kernel: shares its kernel (docker)"]),
        (HOST, {"threads": False}, ["maia:hosts.one.kernel: says that its kernel is its own, and shows none"]),
        (HOST, {"container": True}, ["maia:hosts.one.kernel: shares its kernel"]),
        (SHARED, GUEST, []),
        (SHARED, {}, ["maia:hosts.one.kernel: has a kernel of its own, and the stack file says shared"]),
        (SHARED, {"container": True}, ["maia:hosts.one.kernel: has a kernel of its own"]),
    ],
)
def test_a_server_that_is_not_what_the_stack_file_says_is_not_worked_on(
    host: plan.Host, changes: dict[str, Any], says: list[str]
) -> None:
    found = facts.judge(dataclasses.replace(BARE, **changes), host)
    assert [str(problem).startswith(line) for problem, line in zip(found, says, strict=True)] == [True] * len(says)
    assert all(problem.mend for problem in found)


def test_only_what_feeds_its_roles_or_what_was_found_is_a_change_of_a_host() -> None:
    provider = HostProvider()
    left: dict[str, Any] = {"site": "/a", "address": "192.0.2.10", "roles": {"base": "1"}, "secrets": {}, "drift": []}
    wanted = {**left, "drift": None}
    assert not provider.diff("", left, wanted).changes
    assert not provider.diff("", left, {**wanted, "site": "/b"}).changes
    assert provider.diff("", left, {**wanted, "roles": {"base": "2"}}).changes
    assert provider.diff("", left, {**wanted, "secrets": {"key": "new"}}).changes
    assert provider.diff("", {**left, "drift": ["base : Write the word"]}, wanted).changes
    assert not provider.diff("", left, {**wanted, "address": "192.0.2.11"}).replaces


def test_a_role_is_another_when_a_file_of_it_or_of_a_role_that_it_may_call_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converge, "ROLES", tmp_path)
    for role in ("base", "ssh", "packages"):
        (tmp_path / role / "tasks").mkdir(parents=True)
        (tmp_path / role / "tasks" / "main.yml").write_text("[]")
    before = work.content("base")
    (tmp_path / "ssh" / "tasks" / "main.yml").write_text("[1]")
    assert work.content("base") == before, "a role of its own"
    (tmp_path / "packages" / "tasks" / "main.yml").write_text("[1]")
    called = work.content("base")
    assert called != before
    (tmp_path / "base" / "tasks" / "main.yml").rename(tmp_path / "base" / "tasks" / "other.yml")
    assert work.content("base") not in (before, called)


def test_what_a_provider_says_of_a_host_is_progress_and_what_is_worth_it_is_kept() -> None:
    heard: list[str] = []
    watch = Watch(heard.append, acts=True)
    for message in ("host> one: base : Write\n", "host! one: its key is pinned\n", "something else\n"):
        watch.see(json.dumps({"diagnosticEvent": {"severity": "info#err", "message": f"<{{%reset%}}>{message}"}}))
    assert heard == ["one: base : Write", "one: its key is pinned"]
    assert watch.outcome.notes == ["one: its key is pinned"]
    assert watch.outcome.problems == []


def test_secrets_are_lent_to_root_alone_and_gone_afterwards_and_what_a_killed_run_left_too() -> None:
    left = lent.MEMORY / f"{lent.PREFIX}999999999-x"
    left.mkdir()
    with lent.lent({"key": "quiet word"}) as folder:
        assert not left.exists()
        assert (folder / "key").read_text() == "quiet word"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "key").stat().st_mode & 0o777 == 0o400
        assert folder.parent == lent.MEMORY
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("write error: No space left on device", "free some disk space"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "free some disk space"),
        ("E: Failed to fetch http://192.0.2.1/x", "its mirror of packages"),
        ("No package matching 'docker.io' is available", "its mirror of packages"),
        ("Failed to connect to the host via ssh: Connection refused", "it continues"),
        ("anything else", remedy.AGAIN),
    ],
)
def test_a_known_complaint_has_its_mend(said: str, mend: str) -> None:
    assert mend in remedy.of(said)
