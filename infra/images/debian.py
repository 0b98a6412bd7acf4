"""Debian packages: where they come from and what is installed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from infra.errors import MaiaError
from infra.images.layer import sha256

SUMS = "SHA256SUMS"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "MAIA_DEBIAN_MIRROR"
SECURITY = "MAIA_DEBIAN_SECURITY_MIRROR"

# A mirror that hangs costs three minutes at most (measured); one that lost an index is an error, not a warning.
BOUNDS = (
    'Acquire::Retries "1"',
    'Acquire::http::Timeout "15"',
    'Acquire::https::Timeout "15"',
    'APT::Update::Error-Mode "any"',
)
CHOICES = ('Acquire::Languages "none"', 'APT::Install-Recommends "false"', 'APT::Sandbox::User "root"')


@dataclass(frozen=True)
class Mirror:
    """Where packages come from; no lines mean mmdebstrap's own default."""

    kind: Literal["default", "setting", "vendor"]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """One installed package; ``sha256`` is that of the .deb it came from."""

    name: str
    version: str
    architecture: str
    sha256: str
    source: str = ""
    """By which it is known where vulnerabilities are; its version may be another one."""
    source_version: str = ""

    @property
    def purl(self) -> str:
        """The package URL by which scanners know it."""
        version = self.version.replace("+", "%2B").replace(":", "%3A")
        return f"pkg:deb/debian/{self.name.replace('+', '%2B')}@{version}?arch={self.architecture}&distro=debian-13"

    def as_dict(self) -> dict[str, str]:
        """For records."""
        return asdict(self) | {"purl": self.purl}


def mirror(suite: str, vendor: Path | None) -> Mirror:
    """The folder of vendored packages, else the settings, else mmdebstrap's default."""
    if vendor:
        if not (vendor / SUMS).is_file():
            raise MaiaError(f"no {SUMS} in it", where=str(vendor), mend="make the folder with: maia images vendor")
        return Mirror("vendor", (f"deb [trusted=yes] copy:{vendor.resolve()} ./",))
    main, security = os.environ.get(MIRROR), os.environ.get(SECURITY)
    if not main and not security:
        return Mirror("default")
    for name, value in ((MIRROR, main), (SECURITY, security)):
        if not value or not re.fullmatch(r"(https?|file|copy):/\S+", value):
            raise MaiaError(
                f"{value!r} is not the address of a mirror" if value else "is not set, though the other one is",
                where=name,
                mend=f"set both {MIRROR} and {SECURITY}, or neither",
            )
    return Mirror(
        "setting",
        (
            f"deb {main} {suite} main",
            f"deb {main} {suite}-updates main",
            f"deb {security} {suite}-security main",
        ),
    )


def verify(vendor: Path) -> None:
    """Checks every vendored file against the folder's own sums."""
    for line in (vendor / SUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        file = vendor / name
        if not file.is_file() or sha256(file) != digest:
            raise MaiaError(
                "is not what its sum says" if file.is_file() else "is missing",
                where=str(file),
                mend="make the folder again with: maia images vendor",
            )


def fingerprint(vendor: Path | None) -> str:
    """What distinguishes one vendored folder from another; empty without one."""
    return hashlib.sha256((vendor / SUMS).read_bytes()).hexdigest() if vendor else ""


def architecture() -> str:
    """Debian's name of this machine's architecture, which is also that of an image."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def write_config(file: Path, state: Path, sources: str, *, root: Path | None = None, lists: Path) -> None:
    """Writes an APT configuration that uses nothing of this machine's but its keyring.

    Args:
        file: the configuration.
        state: a folder for what apt keeps besides.
        sources: lines of ``sources.list``.
        root: the tree to install into, absent for fetching alone.
        lists: the package indexes.
    """
    for folder in (lists / "partial", state / "trusted", state / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "trusted" / KEYRING.name).write_bytes(KEYRING.read_bytes())
    (state / "sources.list").write_text(sources)
    (state / "status").touch()
    archives = root / "var/cache/apt/archives" if root else state / "archives"
    lines = [
        *BOUNDS,
        *CHOICES,
        'Dir::Etc::main "/dev/null"',
        'Dir::Etc::parts "/dev/null"',
        'Dir::Etc::sourceparts "/dev/null"',
        'Dir::Etc::preferencesparts "/dev/null"',
        'Dir::Etc::trusted "/dev/null"',
        f'Dir::Etc::trustedparts "{state}/trusted"',
        f'Dir::Etc::sourcelist "{state}/sources.list"',
        f'Dir::State "{state}"',
        f'Dir::State::lists "{lists}"',
        f'Dir::State::status "{root or state}{"/var/lib/dpkg" if root else ""}/status"',
        f'Dir::Cache "{state}"',
        f'Dir::Cache::archives "{archives}"',
        'Dir::Cache::pkgcache ""',
        f'Dir::Log "{state}"',
        f'APT::Architecture "{architecture()}"',
        'Dpkg::Use-Pty "false"',
        'DPkg::Options {"--force-confold"; "--force-unsafe-io"}',
        *([f'DPkg::Chroot-Directory "{root}"'] if root else []),
    ]
    file.write_text("".join(f"{line};\n" for line in lines))


def installed(tree: Path, sums: dict[str, str] | None = None) -> list[Package]:
    """What dpkg knows in ``tree``, sorted; ``sums`` are the digests by the name of the .deb."""
    packages = []
    for stanza in (tree / "var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
            source, _, number = str(fields.get("Source", name)).partition(" ")
            digest = sums[deb_name(name, version, arch)] if sums else ""
            packages.append(Package(name, version, arch, digest, source, number.strip("()") or version))
    return sorted(packages, key=lambda package: package.name)


def deb_name(name: str, version: str, arch: str) -> str:
    """How apt names the file in its cache."""
    return f"{name}_{version.replace(':', '%3a')}_{arch}.deb"


def write_index(folder: Path, suite: str) -> None:
    """Makes ``folder`` a flat repository of its packages; mmdebstrap looks for the essential ones of the suite."""
    stanzas = []
    for deb in sorted(folder.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True).stdout
        size = deb.stat().st_size
        stanzas.append(f"{control.strip()}\nFilename: ./{deb.name}\nSize: {size}\nSHA256: {sha256(deb)}\n")
    index = folder / "Packages"
    index.write_text("\n".join(stanzas))
    sums = f" {sha256(index)} {index.stat().st_size} {index.name}\n"
    (folder / "Release").write_text(f"Codename: {suite}\nArchitectures: {architecture()}\nSHA256:\n{sums}")
