"""A pack of evidence says where each control stands, and shows when anything in it was changed."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from checks import baselines, evidence, pack
from checks.baselines import Control, Excuse
from checks.evidence import Row
from infra import cli
from infra.errors import MaiaError
from infra.plan import Plan

KEY = Ed25519PrivateKey.generate()
Planned = Callable[..., Plan]


def row(check: str, outcome: str, *controls: str, reason: str = "") -> Row:
    return Row(
        check=check, host="web", part="web", controls=controls, observed="yes", expected="no", outcome=outcome,
        reason=reason, seconds=0.1,
    )  # fmt: skip


@pytest.fixture
def made(planned: Planned, tmp_path: Path) -> Path:
    """A pack of a small run."""
    plan = planned()
    rows = [
        row("host[web-sshd.permitrootlogin]", "failed", "cis-debian-13-5.1.21", reason="observed <b>yes</b>"),
        row("host[web-sshd.banner]", "passed", "cis-debian-13-5.1.5"),
    ]
    servers = {"web": {"id": "debian", "version": "13", "kernel": "6.12"}}
    document = evidence.report(plan, "here", "26.1", rows, datetime(2026, 1, 2, tzinfo=UTC), servers=servers)
    assert "cis-debian-12" not in [baseline["name"] for baseline in document["baselines"]]
    evidence.write_report(tmp_path, document)
    (tmp_path / "junit.xml").write_text("<testsuites/>")
    (tmp_path / "plan.json").write_text(plan.json())
    (tmp_path / "commands.json").write_text(
        json.dumps({"web": [{"command": "sshd -T", "code": 0, "answer": "permitrootlogin yes"}]})
    )
    return pack.write(tmp_path, tmp_path / "packs", KEY)


def files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_a_pack_is_verified_with_the_public_key_alone_by_us_and_by_others(made: Path, tmp_path: Path) -> None:
    found = pack.verify(made, KEY.public_key())
    assert found["id"] == made.stem == "evidence-local-20260102T000000Z"
    assert "not a certification" in found["notice"]
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / made.stem
    public = next(folder.glob("*.pub"))
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public)]
    command += ["-in", f"{made.stem}.json", "-sigfile", f"{made.stem}.sig"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert hashlib.sha256((folder / "plan.json").read_bytes()).hexdigest() == found["plan"]


def test_any_flipped_byte_is_found(made: Path) -> None:
    whole = made.read_bytes()
    for position in {*range(0, len(whole), len(whole) // 150), *range(60), *range(len(whole) - 400, len(whole))}:
        made.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(MaiaError, match="not genuine"):
            pack.verify(made, KEY.public_key())


def test_a_pack_of_another_key_or_with_another_file_is_not_genuine(made: Path) -> None:
    with pytest.raises(MaiaError, match="not genuine"):
        pack.verify(made, Ed25519PrivateKey.generate().public_key())
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr(f"{made.stem}/more.txt", "x")
    with pytest.raises(MaiaError, match="files were added or taken away"):
        pack.verify(made, KEY.public_key())


def test_what_is_no_pack_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(MaiaError, match="cannot be read"):
        pack.verify(tmp_path / "none.zip", KEY.public_key())
    (tmp_path / "text.zip").write_text("x")
    with pytest.raises(MaiaError, match="it is no whole archive"):
        pack.verify(tmp_path / "text.zip", KEY.public_key())


def test_the_page_says_what_failed_needs_nothing_from_elsewhere_and_runs_nothing(made: Path) -> None:
    page = files(made)["index.html"].decode()
    assert "This is evidence, not a certification." in page
    assert "host[web-sshd.permitrootlogin]" in page
    assert "observed &lt;b&gt;yes" in page
    assert "sshd -T" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page


def test_the_command_verifies_and_refuses(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = tmp_path / "key.pub"
    public.write_bytes(next(content for name, content in files(made).items() if name.endswith(".pub")))
    assert cli.main(["evidence", "verify", str(made), "--key", str(public)]) == 0
    assert "genuine: evidence-local-20260102T000000Z" in capsys.readouterr().out
    made.write_bytes(made.read_bytes()[:-1] + b"x")
    assert cli.main(["evidence", "verify", str(made), "--key", str(public)]) == 1
    assert "not genuine" in capsys.readouterr().err
    assert cli.main(["evidence", "verify"]) == 1


EXCUSED = Excuse(reason="r", owner="o", expires=date(2026, 5, 1))


@pytest.mark.parametrize(
    ("outcomes", "told", "state"),
    [
        (["passed"], {}, "met"),
        (["passed", "failed"], {}, "not met"),
        (["passed", "skipped"], {}, "partly shown"),
        (["skipped"], {}, "not provable here"),
        ([], {}, "not looked at"),
        (["passed", "waived"], {}, "waived"),
        (["passed"], {"planned": "p"}, "planned"),
        (["failed"], {"planned": "p"}, "not met"),
        ([], {"manual": "m"}, "manual"),
        ([], {"waiver": EXCUSED}, "waived"),
        ([], {"waiver": Excuse(reason="r", owner="o", expires=date(2026, 4, 30))}, "waiver expired"),
    ],
)
def test_where_a_control_stands_follows_from_its_checks(outcomes: list[str], told: dict[str, Any], state: str) -> None:
    kept: dict[str, Any] = {"checks": ("a.b",), "manual": "", "planned": "", "waiver": None}
    control = Control(id="c", title="t", level=1, **(kept | told))
    assert baselines.state(control, outcomes, date(2026, 5, 1)) == state


def test_no_waiver_of_ours_has_expired() -> None:
    """An expired one fails: renew it with a reason, or do what it waives."""
    today = datetime.now(UTC).date()
    ours = [each.waiver for each in baselines.controls().values() if each.waiver]
    assert all(waiver.expires >= today and waiver.owner and waiver.reason for waiver in ours)
    assert all(waiver.expires >= today for waiver in evidence.waivers(evidence.HERE / "waivers.yaml"))


def test_every_clause_of_the_technical_safeguards_is_there() -> None:
    clauses = {id_ for id_ in baselines.controls() if id_.startswith("hipaa-164.312")}
    access = {"(a)(1)", *(f"(a)(2)({number})" for number in ("i", "ii", "iii", "iv"))}
    others = {"(b)", "(c)(1)", "(c)(2)", "(d)", "(e)(1)", "(e)(2)(i)", "(e)(2)(ii)"}
    assert clauses == {f"hipaa-164.312{clause}" for clause in access | others}


def test_levels_are_those_of_the_benchmark_for_debian() -> None:
    levels = {id_: control.level for id_, control in baselines.controls().items() if "debian" in id_}
    assert set(levels.values()) == {1, 2}
    assert sum(id_.startswith("cis-debian-12-") for id_ in levels) == 310
    assert sum(id_.startswith("cis-debian-13-") for id_ in levels) == 343


def test_the_archive_has_no_time_of_its_own(made: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(made.read_bytes())) as archive:
        assert {info.date_time for info in archive.infolist()} == {pack.DATE}
