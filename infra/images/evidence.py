"""What an image is made of, for people who must prove it: SBOM and provenance."""

from __future__ import annotations

import re
import subprocess
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from infra.images.layer import CREATED, sha256

Component = dict[str, Any]


def debian_components(packages: Iterable[Mapping[str, str]]) -> list[Component]:
    """Debian packages, as recorded in ``found.json``."""
    return [
        _component("library", package["name"], package["version"], package["purl"], package["sha256"])
        for package in packages
    ]


def wheel_components(folder: Path, wanted: set[str]) -> list[Component]:
    """Python distributions of the wheels in ``folder`` whose digest is in ``wanted``."""
    found = []
    for wheel in sorted(folder.glob("*.whl")):
        digest = sha256(wheel)
        if digest in wanted:
            with zipfile.ZipFile(wheel) as archive:
                (metadata,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
                head = HeaderParser().parsestr(archive.read(metadata).decode("utf-8", "replace"))
            name = re.sub(r"[-_.]+", "-", head["Name"]).lower()
            found.append(_component("library", name, head["Version"], f"pkg:pypi/{name}@{head['Version']}", digest))
    return found


def go_components(go: Path, binary: Path, version: str) -> list[Component]:
    """A Go program and the modules that the compiler noted in it."""
    said = subprocess.run([go, "version", "-m", binary], capture_output=True, text=True, check=True).stdout
    found = [_component("application", binary.name, version, f"pkg:generic/{binary.name}@{version}", sha256(binary))]
    compiler = re.search(r": go(\S+)", said)
    if compiler:
        found.append(_component("library", "stdlib", compiler[1], f"pkg:golang/stdlib@{compiler[1]}"))
    for path, release in re.findall(r"^\t(?:dep|=>)\t(\S+)\t(\S+)", said, re.MULTILINE):
        found.append(_component("library", path, release, f"pkg:golang/{path}@{release.replace('+', '%2B')}"))
    return found


def _component(kind: str, name: str, version: str, purl: str, digest: str = "") -> Component:
    hashes = {"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, **hashes}


def sbom(name: str, identity: str, components: Sequence[Component]) -> dict[str, Any]:
    """A CycloneDX 1.6 document; the same image has the same document."""
    unique = {component["bom-ref"]: component for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": CREATED,
            "component": {"type": "container", "bom-ref": identity, "name": f"maia/{name}", "version": identity},
        },
        "components": [unique[key] for key in sorted(unique)],
    }


def provenance(
    name: str, identity: str, *, key: str, base: str, builder: int, mirror: str, components: Sequence[Component]
) -> dict[str, Any]:
    """An in-toto statement in the form of SLSA provenance: how it was made, and of what."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": f"maia/{name}", "digest": {"sha256": identity.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:maia:image-recipe:1",
                "externalParameters": {"recipe": f"infra/images/{name}.yaml", "mirror": mirror},
                "internalParameters": {"key": key, "baseLayer": f"sha256:{base}"},
                "resolvedDependencies": [
                    {"uri": component["purl"], "digest": {"sha256": component["hashes"][0]["content"]}}
                    for component in components
                    if "hashes" in component
                ],
            },
            "runDetails": {"builder": {"id": "urn:maia:image-builder", "version": {"maia": str(builder)}}},
        },
    }
