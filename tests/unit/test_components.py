"""What resources do to files and certificates, and what they call a change."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pulumi.dynamic import CreateResult, ReadResult

from infra import authority
from infra.atomic import fill, look
from infra.components import certificate, store, trial
from infra.components.dynamic import Properties, Provider
from infra.components.files import FilesProvider

UID, GID = os.getuid(), os.getgid()


def test_a_folder_holds_just_the_files_it_was_given(tmp_path: Path) -> None:
    root = tmp_path / "part"
    fill(str(root), {"a.conf": "one", "sub/b.conf": "two"}, uid=UID, gid=GID, private=False)
    fill(str(root), {"a.conf": "three"}, uid=UID, gid=GID, private=False)
    assert look(str(root)) == {"a.conf": "three"}


def test_private_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "part"
    fill(str(root), {"password": "x"}, uid=UID, gid=GID, private=True)
    assert (root / "password").stat().st_mode & 0o777 == 0o400
    assert root.stat().st_mode & 0o777 == 0o500


def test_a_reader_may_look_into_a_folder_of_configuration_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "part"
    fill(str(root), {"a.conf": "one"}, uid=UID, gid=GID, private=False)
    modes: list[int] = []
    replaced = os.replace

    def spy(source: Path, target: Path) -> None:
        modes.append(root.stat().st_mode & 0o777)
        replaced(source, target)

    monkeypatch.setattr(os, "replace", spy)
    fill(str(root), {"a.conf": "two"}, uid=UID, gid=GID, private=False)
    assert modes == [0o755]


def test_a_half_written_file_of_a_killed_run_is_replaced_and_cleared_away(tmp_path: Path) -> None:
    root = tmp_path / "part"
    root.mkdir()
    (root / ".a.conf.partial").write_text("half")
    fill(str(root), {"a.conf": "whole"}, uid=UID, gid=GID, private=False)
    assert look(str(root)) == {"a.conf": "whole"}


def test_a_file_changed_by_hand_is_seen_and_put_back(tmp_path: Path) -> None:
    provider = FilesProvider()
    wanted: dict[str, Any] = {
        "root": str(tmp_path / "part"),
        "files": {"a.conf": "right"},
        "uid": UID,
        "gid": GID,
        "private": False,
    }
    made = provider.create(wanted)
    (tmp_path / "part" / "a.conf").chmod(0o644)
    (tmp_path / "part" / "a.conf").write_text("wrong")
    seen = provider.read(made.id, outputs(made))
    assert provider.diff(made.id, outputs(seen), wanted).changes
    provider.update(made.id, outputs(seen), wanted)
    assert not provider.diff(made.id, outputs(provider.read(made.id, outputs(made))), wanted).changes


def test_what_is_gone_is_reported_as_gone(tmp_path: Path) -> None:
    props = {"root": str(tmp_path / "none"), "files": {}, "uid": UID, "gid": GID, "private": False}
    assert FilesProvider().read("x", props).id == ""


def outputs(result: CreateResult | ReadResult) -> Properties:
    assert result.outs is not None
    return result.outs


class _Counter(Provider):
    replaces = ("name",)
    ignores = ("where",)

    def identity(self, props: Properties) -> str:
        return str(props["name"])

    def ensure(self, props: Properties) -> Properties:
        return {"made": 1}


@pytest.mark.parametrize(
    ("change", "changes", "replaces"),
    [
        ({}, False, []),
        ({"value": 2}, True, []),
        ({"name": "b"}, True, ["name"]),
        ({"where": "elsewhere"}, False, []),
        ({"made": None}, False, []),
    ],
)
def test_only_a_change_of_what_was_asked_for_is_a_change(
    change: dict[str, Any], changes: bool, replaces: list[str]
) -> None:
    wanted: dict[str, Any] = {"name": "a", "value": 1, "where": "here"}
    made = _Counter().create(wanted)
    diff = _Counter().diff(made.id, outputs(made), wanted | change)
    assert (diff.changes, diff.replaces) == (changes, replaces)


def test_a_certificate_is_for_its_names_and_from_the_stacks_ca() -> None:
    ca, ca_key = certificate.authority("local")
    text, _key = certificate.issue(["gateway", "maia.example", "10.0.0.1"], ca, ca_key)
    leaf = x509.load_pem_x509_certificate(text.encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gateway", "maia.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_after_utc - datetime.now(UTC) < timedelta(days=certificate.DAYS), "clients refuse longer ones"


def test_a_certificate_is_made_anew_in_the_last_third_of_its_life_and_when_it_is_asked_for() -> None:
    ca, ca_key = certificate.authority("local")
    outputs_ = {"certificate": None, "key": None}
    wanted = {"names": ["gateway"], "ca_certificate": ca, "ca_key": ca_key, "generation": None, **outputs_}
    provider = certificate.CertificateProvider()
    made = provider.create(wanted)
    assert not provider.diff(made.id, outputs(made), wanted).changes
    assert provider.diff(made.id, outputs(made), wanted | {"generation": "2"}).changes
    text = outputs(made)["certificate"]
    now = datetime.now(UTC)
    assert certificate.left(text, now + timedelta(days=certificate.DAYS * 0.6)) > certificate.RENEW
    assert certificate.left(text, now + timedelta(days=certificate.DAYS * 0.7)) < certificate.RENEW
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "RENEW", 1.0)
        assert provider.diff(made.id, outputs(made), wanted).changes


def test_a_rotation_of_the_ca_never_signs_with_what_is_not_trusted_nor_mixes_two_keys() -> None:
    """At every write of the steps, in their order."""
    old, new = certificate.authority("local"), certificate.authority("local")
    secrets = dict(zip(authority.NAMES, old, strict=True))
    seen = [authority.of(secrets)]
    coming = authority.Next(*new, signs=False)
    writes = [
        {authority.NEXT: coming.text()},
        {authority.NEXT: replace(authority.Next.read(coming.text()), signs=True).text()},
        {authority.CERTIFICATE: new[0]},
        {authority.KEY: new[1]},
    ]
    for written in writes:
        secrets |= {name: value.strip() for name, value in written.items()}  # as the stack file keeps it
        seen.append(authority.of(secrets))
    del secrets[authority.NEXT]
    seen.append(authority.of(secrets))
    signers = ["old" if each.certificate == old[0] else "new" for each in seen]
    assert signers == ["old", "old", "new", "new", "new", "new"]
    trusted = [{name for name, one in (("old", old), ("new", new)) if one[0] in each.trusted} for each in seen]
    assert trusted == [{"old"}, {"old", "new"}, {"old", "new"}, {"new"}, {"new"}, {"new"}]
    for each in seen:
        leaf = x509.load_pem_x509_certificate(certificate.issue(["gateway"], each.certificate, each.key)[0].encode())
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(each.trusted.encode()))


def test_a_policy_reaches_its_own_buckets_and_makes_or_removes_none() -> None:
    document = store.policy(["web-files"])
    resources = {resource for statement in document["Statement"] for resource in statement["Resource"]}
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert resources == {"arn:aws:s3:::web-files", "arn:aws:s3:::web-files/*"}
    assert not [action for action in actions if "*" in action or ("Bucket" in action and "Delete" in action)]
    assert "s3:CreateBucket" not in actions


class _Silent(_Counter):
    def away(self, props: Properties) -> bool:
        return True

    def observe(self, props: Properties) -> Properties | None:
        raise ConnectionError


def test_what_a_stopped_part_holds_is_taken_to_be_there_still() -> None:
    made = _Silent().create({"name": "a", "value": 1})
    seen = _Silent().read(made.id, outputs(made))
    assert seen.id == made.id
    assert not _Silent().diff(made.id, outputs(seen), {"name": "a", "value": 1}).changes


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({"image": "sha256:2"}, True),
        ({"envs": ["A=2"]}, True),
        ({"health": ["false"]}, True),
        ({"memory": 512, "memory_swap": 512, "pids": 8}, False),
        ({"networks": {"apps": "10.0.0.9"}}, False),
    ],
)
def test_a_version_is_tried_where_its_container_would_be_replaced_and_nowhere_else(
    change: dict[str, Any], changes: bool
) -> None:
    wanted: dict[str, Any] = {
        "exchange": {"candidate": "maia-x-web-candidate"},
        "networks": {"apps": "10.0.0.8"},
        "image": "sha256:1",
        "envs": ["A=1"],
        "health": ["true"],
        "memory": 256,
        "memory_swap": 256,
        "pids": 64,
    }
    made = trial.TrialProvider().create(wanted)
    diff = trial.TrialProvider().diff(made.id, outputs(made), wanted | change)
    assert (diff.changes, diff.replaces) == (changes, [])
