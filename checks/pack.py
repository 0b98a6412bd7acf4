"""A pack of evidence: one signed file for an auditor, that anyone can open and whose every byte is accounted for.

It is a zip archive of a page for people, the same for machines, JUnit, the plan, the commands and what they answered,
and a signed document with the SHA-256 of each of them. Written in one way only, so that one changed byte is found.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from checks.baselines import STATES
from infra import atomic, signature
from infra.errors import MaiaError

HERE = Path(__file__).parent
NOTICE = (
    "This is evidence, not a certification. It says what programs found at one moment on the machines named in it, "
    "compared with what public baselines ask for. It speaks to parts of controls, not to people or paper, and nobody "
    "but an auditor can say that a standard is met."
)
PACKED = ("report.json", "junit.xml", "commands.json", "plan.json")
SUMS = "SHA256SUMS"
DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: when it was made is in the signed document."""


def write(evidence: Path, folder: Path, key: Ed25519PrivateKey) -> Path:
    """Pack what the last run of all checks left in ``evidence``; the pack goes to ``folder``."""
    report = json.loads((evidence / "report.json").read_text())
    began = datetime.fromisoformat(report["began"])
    name = f"evidence-{report['stack']}-{began:%Y%m%dT%H%M%SZ}"
    files = {
        each: (evidence / each).read_bytes() for each in ("report.json", "junit.xml", "commands.json", "plan.json")
    }
    commands = json.loads(files["commands.json"])
    files["index.html"] = page(name, report, commands, signature.name(key.public_key())).encode()
    files[SUMS] = "".join(f"{_sum(content)}  {each}\n" for each, content in sorted(files.items())).encode()
    document = {
        "id": name,
        "notice": NOTICE,
        **{each: report[each] for each in ("stack", "began", "ended", "plan", "images", "hosts", "counts")},
        "controls": dict(standing(report)),
        "files": {each: _sum(content) for each, content in sorted(files.items())},
    }
    with tempfile.TemporaryDirectory() as scratch:
        signature.sign(Path(scratch) / f"{name}.json", document, key)
        files |= {path.name: path.read_bytes() for path in Path(scratch).iterdir()}
    path = folder / f"{name}.zip"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(path, _archive(name, files))
    return path


def verify(path: Path, key: Ed25519PublicKey) -> dict[str, Any]:
    """What the pack's signed document says, once every byte of the pack is proven.

    Raises:
        MaiaError: something in it is not what was signed.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise MaiaError("cannot be read", where=str(path), mend=str(error.strerror)) from None
    name, files = _open(path, whole)
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in (".json", ".sig"):
            (Path(scratch) / (name + suffix)).write_bytes(files.get(name + suffix, b""))
        try:
            found = signature.verify(Path(scratch) / f"{name}.json", key)
        except MaiaError as error:
            raise MaiaError(error.what, where=str(path), mend=error.mend) from None
    signed = {f"{name}.json", f"{name}.sig", f"{found['key']}.pub"}
    if set(files) != signed | set(found["files"]):
        raise _forged(path, "files were added or taken away")
    for each, digest in found["files"].items():
        if _sum(files[each]) != digest:
            raise _forged(path, f"{each} is not what was signed")
    with tempfile.NamedTemporaryFile(suffix=".pub") as public:
        Path(public.name).write_bytes(files[f"{found['key']}.pub"])
        if signature.name(signature.read_key(Path(public.name))) != signature.name(key):
            raise _forged(path, "the key in it is another one")
    if _archive(name, files) != whole:
        raise _forged(path, "it was written by another program")
    return found


def _open(path: Path, whole: bytes) -> tuple[str, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            files = {each: archive.read(each) for each in archive.namelist()}
    except Exception:  # whatever a broken archive makes the reader stumble over
        raise _forged(path, "it is no whole archive") from None
    names = {each.partition("/")[0] for each in files}
    if len(names) != 1:
        raise _forged(path, "it is no pack of evidence")
    return names.pop(), {each.partition("/")[2]: content for each, content in files.items()}


def _forged(path: Path, how: str) -> MaiaError:
    return MaiaError(f"not genuine: {how}", where=str(path), mend="ask for the pack as it was written")


def _archive(name: str, files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each in sorted(files):
            member = zipfile.ZipInfo(f"{name}/{each}", DATE)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, files[each])
    return out.getvalue()


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def standing(report: Mapping[str, Any]) -> Counter[str]:
    """How many controls are in each state."""
    return Counter(control["state"] for baseline in report["baselines"] for control in baseline["controls"])


def page(name: str, report: Mapping[str, Any], commands: Mapping[str, Any], key: str) -> str:
    """For people."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("evidence.html.j2").render(
        name=name, report=report, commands=commands, key=key, notice=NOTICE, states=STATES, standing=standing(report)
    )
